// Small charts for a page: plain SVG and HTML, colours from the page's style sheet, readable without script.
//
// Horizontal positions are percentages of the drawing's width, vertical ones are pixels: a chart follows the width of
// the screen and its lettering keeps its size. (SVG takes percentages for x, cx, x1 and width, not inside paths: so
// markers are defined once around (0, 0) and placed with <use>.)
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pare {

// Eight series are told apart by colour and by shape: circle, square, triangle, diamond, triangle down, plus, cross,
// ring. Beyond that they start again.
constexpr int kSeries = 8;
std::string marker_definitions();       // once a page, before the first chart
std::string legend_marker(int series);  // the sign alone, for a legend or a table

struct ChartPoint {
  double x = 0, y = 0;
  int series = 0;
  std::string title;  // shown when pointed at
  std::string label;  // written beside the point; mostly empty
};

struct ScatterChart {
  std::string about;  // for those who cannot see it
  std::vector<ChartPoint> points;
  std::string x_title, y_title;
  bool y_log = false;
  bool y_percent = false;  // y is a fraction, ticks are written as per cent
  bool x_whole = false;    // ticks at whole numbers only
  bool x_from_zero = false;
  bool join_series = false;                     // thin lines from point to point of a series, in order of x
  std::vector<std::pair<double, double>> path;  // a dashed line through these (the Pareto front)
  double x_unit = 1;                            // ticks are written as x / x_unit
  int height = 300;
};
// Points whose y is not positive are left out on a logarithmic axis. Empty when nothing is left.
std::string draw(const ScatterChart& chart);

struct Bar {
  std::string label;
  double value = 0;
  std::string words;  // the value, as written at the end
  int series = 0;
  std::optional<double> notch;  // a mark to compare with
  std::string title;
};
std::string draw_bars(const std::vector<Bar>& bars, const std::string& about);  // lengths relative to the largest

struct Segment {
  std::string label;
  double value = 0;
  int tone = 0;  // 0..4, as the style sheet has them
};
struct StackedBar {
  std::string label, words;
  std::vector<Segment> segments;
};
std::string draw_stacked(const std::vector<StackedBar>& bars, const std::string& about);

struct Interval {
  std::string label;
  double value = 0, error = 0;  // drawn from value - error to value + error
  std::string words;
  int tone = 0;
};
std::string draw_intervals(const std::vector<Interval>& intervals, const std::string& about);

}  // namespace pare
