#include "pare/pipeline/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "pare/pipeline/report_values.h"

namespace pare {
namespace {

std::string fixed(double value, int decimals = 2) {
  char buffer[400];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

struct Axis {
  double low = 0, high = 1;
  bool log = false;
  std::vector<double> ticks;

  double place(double value) const {  // 0 .. 1
    if (log) return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
    return (value - low) / (high - low);
  }
};

// Steps of 1, 2 or 5 times a power of ten, about `wanted` of them.
Axis linear_axis(double low, double high, int wanted, bool whole) {
  if (!(high > low)) {
    const double margin = low == 0 ? 1 : std::fabs(low) * 0.05;
    low -= margin;
    high += margin;
  }
  const double raw = (high - low) / wanted;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = power * 10;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (power * factor >= raw) {
      step = power * factor;
      break;
    }
  }
  if (whole) step = std::max(1.0, step);
  Axis axis{low, high, false, {}};
  for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    axis.ticks.push_back(std::fabs(tick) < step * 1e-9 ? 0 : tick);
  }
  return axis;
}

Axis log_axis(double low, double high) {
  Axis axis{low / 1.25, high * 1.25, true, {}};
  const double decades = std::log10(axis.high / axis.low);
  const std::vector<double> factors = decades > 2.5   ? std::vector<double>{1}
                                      : decades > 1.2 ? std::vector<double>{1, 3}
                                                      : std::vector<double>{1, 2, 3, 5, 7};
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / 6)));
  for (int power = static_cast<int>(std::floor(std::log10(axis.low))); power <= std::log10(axis.high); ++power) {
    if (power % stride != 0) continue;
    for (const double factor : factors) {
      const double tick = factor * std::pow(10, power);
      if (tick >= axis.low && tick <= axis.high) axis.ticks.push_back(tick);
    }
  }
  return axis;
}

std::string tick_words(double value, bool as_percent) {
  char buffer[64];
  if (!as_percent) {
    std::snprintf(buffer, sizeof buffer, "%.6g", value);
    return buffer;
  }
  const double hundredth = value * 100;
  std::snprintf(buffer, sizeof buffer, hundredth >= 1e-4 ? "%.4g\u00a0%%" : "%.0e\u00a0%%", hundredth);
  return buffer;
}

std::string use_marker(int series, const std::string& x, double y, const std::string& title) {
  const std::string s = std::to_string(series % kSeries);
  return "<use href=\"#m" + s + "\" class=\"s" + s + "\" x=\"" + x + "\" y=\"" + fixed(y, 1) + "\"><title>" +
         html(title) + "</title></use>";
}

std::string tone_class(int tone) {
  std::string name(1, 't');
  name += std::to_string(tone);
  return name;
}

std::string image_role(const std::string& about) {
  return " role=\"img\" aria-label=\"" + html(about) + "\"";
}

}  // namespace

std::string marker_definitions() {
  return "<svg width=\"0\" height=\"0\" class=\"defs\" aria-hidden=\"true\"><defs>"
         "<circle id=\"m0\" r=\"3.6\"/>"
         "<rect id=\"m1\" x=\"-3.3\" y=\"-3.3\" width=\"6.6\" height=\"6.6\"/>"
         "<path id=\"m2\" d=\"M0-4.4L4.2 3H-4.2Z\"/>"
         "<path id=\"m3\" d=\"M0-4.7L4.7 0L0 4.7L-4.7 0Z\"/>"
         "<path id=\"m4\" d=\"M0 4.4L4.2-3H-4.2Z\"/>"
         "<path id=\"m5\" d=\"M-1.3-4.3H1.3V-1.3H4.3V1.3H1.3V4.3H-1.3V1.3H-4.3V-1.3H-1.3Z\"/>"
         "<path id=\"m6\" d=\"M-3.9-2.1L-2.1-3.9L0-1.8L2.1-3.9L3.9-2.1L1.8 0L3.9 2.1L2.1 3.9L0 1.8L-2.1 "
         "3.9L-3.9 2.1L-1.8 0Z\"/>"
         "<path id=\"m7\" fill-rule=\"evenodd\" d=\"M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0ZM-2 0A2 2 0 1 0 2 0A2 2 0 1 "
         "0-2 0Z\"/>"
         "</defs></svg>\n";
}

std::string legend_marker(int series) {
  const std::string s = std::to_string(series % kSeries);
  return "<svg class=\"mark\" width=\"12\" height=\"12\" viewBox=\"-6 -6 12 12\" aria-hidden=\"true\"><use href=\"#m" +
         s + "\" class=\"s" + s + "\"/></svg>";
}

std::string draw(const ScatterChart& chart) {
  std::vector<ChartPoint> points;
  for (const ChartPoint& point : chart.points) {
    if (std::isfinite(point.x) && std::isfinite(point.y) && (!chart.y_log || point.y > 0)) points.push_back(point);
  }
  if (points.empty()) return "";
  const auto [left, right] = std::minmax_element(points.begin(), points.end(),
                                                 [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  const auto [low, high] = std::minmax_element(points.begin(), points.end(),
                                               [](const ChartPoint& a, const ChartPoint& b) { return a.y < b.y; });
  double x_low = chart.x_from_zero ? 0 : left->x, x_high = right->x;
  if (!chart.x_whole) {
    const double margin = (x_high - x_low) * 0.08;
    x_low -= chart.x_from_zero ? 0 : margin;
    x_high += margin * 1.5;
  } else {
    x_low -= 0.6;
    x_high += 0.6;
  }
  const Axis x = linear_axis(x_low / chart.x_unit, x_high / chart.x_unit, 6, chart.x_whole);
  const double y_margin = (high->y - low->y) * 0.1;
  const Axis y = chart.y_log ? log_axis(low->y, high->y) : linear_axis(low->y - y_margin, high->y + y_margin, 5, false);

  const double top = 8, bottom = chart.height - 24.0;
  const auto x_at = [&](double value) { return fixed(100 * x.place(value / chart.x_unit)) + "%"; };
  const auto y_at = [&](double value) { return bottom - (bottom - top) * y.place(value); };
  const std::string height = std::to_string(chart.height);

  std::string axis, grid;
  for (const double tick : y.ticks) {
    const std::string at = fixed(y_at(tick), 1);
    axis += "<text x=\"100%\" dx=\"-6\" y=\"" + at + "\" dy=\".32em\" text-anchor=\"end\">" +
            tick_words(tick, chart.y_percent) + "</text>";
    grid += "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"" + at + "\" y2=\"" + at + "\"/>";
  }
  grid += "<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"" + fixed(bottom, 1) + "\" y2=\"" + fixed(bottom, 1) + "\"/>";
  for (const double tick : x.ticks) {
    const double place = x.place(tick);
    if (place > 0.985 || place < 0) continue;  // its lettering would be cut off
    grid += "<text x=\"" + fixed(100 * place) + "%\" y=\"" + fixed(bottom + 17, 1) + "\" text-anchor=\"" +
            (place < 0.02 ? "start" : "middle") + "\">" + tick_words(tick, false) + "</text>";
  }

  std::string lines, marks;
  for (size_t i = 1; i < chart.path.size(); ++i) {
    const auto& [x1, y1] = chart.path[i - 1];
    const auto& [x2, y2] = chart.path[i];
    lines += "<line class=\"front\" x1=\"" + x_at(x1) + "\" y1=\"" + fixed(y_at(y1), 1) + "\" x2=\"" + x_at(x2) +
             "\" y2=\"" + fixed(y_at(y2), 1) + "\"/>";
  }
  if (chart.join_series) {
    std::map<int, std::vector<const ChartPoint*>> by_series;
    for (const ChartPoint& point : points) by_series[point.series].push_back(&point);
    for (auto& [series, members] : by_series) {
      std::stable_sort(members.begin(), members.end(),
                       [](const ChartPoint* a, const ChartPoint* b) { return a->x < b->x; });
      lines += "<g class=\"join s" + std::to_string(series % kSeries) + "\">";
      for (size_t i = 1; i < members.size(); ++i) {
        lines += "<line x1=\"" + x_at(members[i - 1]->x) + "\" y1=\"" + fixed(y_at(members[i - 1]->y), 1) + "\" x2=\"" +
                 x_at(members[i]->x) + "\" y2=\"" + fixed(y_at(members[i]->y), 1) + "\"/>";
      }
      lines += "</g>";
    }
  }
  for (const ChartPoint& point : points) {
    marks += use_marker(point.series, x_at(point.x), y_at(point.y), point.title);
    if (!point.label.empty()) {
      marks += "<text class=\"name\" x=\"" + x_at(point.x) + "\" dx=\"8\" y=\"" + fixed(y_at(point.y), 1) +
               "\" dy=\".32em\">" + html(point.label) + "</text>";
    }
  }
  return "<figure class=\"plot\"" + image_role(chart.about) + "><figcaption class=\"ytitle\">" + html(chart.y_title) +
         "</figcaption><div class=\"plane\"><svg class=\"yaxis\" height=\"" + height + "\">" + axis +
         "</svg><svg class=\"field\" height=\"" + height + "\">" + grid + lines + marks +
         "</svg></div><figcaption class=\"xtitle\">" + html(chart.x_title) + "</figcaption></figure>\n";
}

std::string draw_bars(const std::vector<Bar>& bars, const std::string& about) {
  double largest = 0;
  for (const Bar& bar : bars) largest = std::max({largest, bar.value, bar.notch.value_or(0)});
  if (bars.empty() || !(largest > 0)) return "";
  std::string out = "<div class=\"bars\"" + image_role(about) + ">";
  for (const Bar& bar : bars) {
    out += "<span class=\"barlabel\">" + html(bar.label) + "</span><svg height=\"18\"><rect class=\"track\" y=\"3\" " +
           "width=\"100%\" height=\"12\" rx=\"2\"/><rect class=\"s" + std::to_string(bar.series % kSeries) +
           "\" y=\"3\" height=\"12\" rx=\"2\" width=\"" + fixed(100 * std::max(0.0, bar.value) / largest) +
           "%\"><title>" + html(bar.title) + "</title></rect>";
    if (bar.notch) {
      const std::string at = fixed(99.6 * *bar.notch / largest) + "%";
      out += "<line class=\"notch\" x1=\"" + at + "\" x2=\"" + at + "\" y1=\"0\" y2=\"18\"/>";
    }
    out += "</svg><span class=\"barwords\">" + html(bar.words) + "</span>";
  }
  return out + "</div>\n";
}

std::string draw_stacked(const std::vector<StackedBar>& bars, const std::string& about) {
  double largest = 0;
  std::vector<std::pair<std::string, int>> legend;
  for (const StackedBar& bar : bars) {
    double sum = 0;
    for (const Segment& segment : bar.segments) {
      sum += segment.value;
      const std::pair<std::string, int> entry{segment.label, segment.tone};
      if (segment.value > 0 && std::find(legend.begin(), legend.end(), entry) == legend.end()) legend.push_back(entry);
    }
    largest = std::max(largest, sum);
  }
  if (!(largest > 0)) return "";
  std::string out = "<div class=\"stack\"" + image_role(about) + ">";
  for (const StackedBar& bar : bars) {
    out += "<div class=\"stackhead\"><span>" + html(bar.label) + "</span><b>" + html(bar.words) +
           "</b></div><svg height=\"30\">";
    double at = 0;
    for (const Segment& segment : bar.segments) {
      if (!(segment.value > 0)) continue;
      out += "<rect class=\"" + tone_class(segment.tone) + "\" x=\"" + fixed(100 * at / largest) +
             "%\" y=\"1\" height=\"28\" width=\"" + fixed(100 * segment.value / largest) + "%\"><title>" +
             html(segment.label) + "</title></rect>";
      at += segment.value;
    }
    out += "</svg>";
  }
  out += "<ul class=\"legend\">";
  for (const auto& [label, tone] : legend) {
    out += "<li><svg class=\"mark\" width=\"12\" height=\"12\"><rect class=\"" + tone_class(tone) +
           "\" width=\"12\" height=\"12\" rx=\"2\"/></svg>" + html(label) + "</li>";
  }
  return out + "</ul></div>\n";
}

std::string draw_intervals(const std::vector<Interval>& intervals, const std::string& about) {
  if (intervals.empty()) return "";
  double low = intervals[0].value, high = low;
  for (const Interval& one : intervals) {
    low = std::min(low, one.value - one.error);
    high = std::max(high, one.value + one.error);
  }
  const double margin = std::max((high - low) * 0.06, std::fabs(high) * 1e-3);
  low -= margin;
  high += margin;
  const auto at = [&](double value) { return fixed(100 * (value - low) / (high - low)) + "%"; };
  std::string out = "<div class=\"bars\"" + image_role(about) + ">";
  for (const Interval& one : intervals) {
    const std::string tone = tone_class(one.tone);
    out += "<span class=\"barlabel\">" + html(one.label) +
           "</span><svg height=\"24\"><line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"12\" y2=\"12\"/><g class=\"" +
           tone + " whisker\"><line x1=\"" + at(one.value - one.error) + "\" x2=\"" + at(one.value + one.error) +
           "\" y1=\"12\" y2=\"12\"/>";
    for (const double end : {one.value - one.error, one.value + one.error}) {
      out += "<line x1=\"" + at(end) + "\" x2=\"" + at(end) + "\" y1=\"7\" y2=\"17\"/>";
    }
    out += "<circle cx=\"" + at(one.value) + "\" cy=\"12\" r=\"5\"/></g></svg><span class=\"barwords\">" +
           html(one.words) + "</span>";
  }
  return out + "</div>\n";
}

}  // namespace pare
