// Several runs in one page: first what was asked for differently, then what came out.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "pare/base/units.h"
#include "pare/pipeline/report_page.h"
#include "pare/pipeline/svg.h"

namespace pare {
namespace {

// A recipe as "calibration.samples" -> "128"; the list of layer overrides is one value.
void flatten(Field value, const std::string& prefix, std::map<std::string, std::string>& out) {
  for (const auto& [key, item] : value.entries()) {
    if (item.is_object()) {
      flatten(item, prefix + key + ".", out);
    } else if (item) {
      out[prefix + key] = item.words();
    }
  }
}

std::string letter(size_t run) {
  return run < 26 ? std::string(1, static_cast<char>('A' + run)) : std::to_string(run + 1);
}

std::string run_name(Field report) {
  const std::string path = report["result"]["path"].text();
  return path.empty() ? model_name(report) : last_component(path);
}

struct Figure {
  std::string head;
  std::optional<double> (*value)(Field);
  std::string (*words)(Field);
  bool less_is_better;
};

const std::vector<Figure>& figures() {
  static const std::vector<Figure> kFigures = {
      {"Size", [](Field r) { return r["result"]["bytes"].number(); },
       [](Field r) { return bytes_words(r["result"]["bytes"].number()); }, true},
      {"Bits a weight", [](Field r) { return r["result"]["bits_per_weight"].number(); },
       [](Field r) {
         const auto bits = r["result"]["bits_per_weight"].number();
         return bits ? significant(*bits, 3) : "";
       },
       true},
      {"Perplexity", [](Field r) { return r["evaluation"]["after"]["perplexity"].number(); },
       [](Field r) {
         const Field after = r["evaluation"]["after"];
         if (after["perplexity"].is_null()) return std::string("not finite");
         return with_error(after["perplexity"].number(), after["perplexity_stderr"].number(), 4);
       },
       true},
      {"Change",
       [](Field r) -> std::optional<double> {
         const auto before = r["evaluation"]["before"]["perplexity"].number();
         const auto after = r["evaluation"]["after"]["perplexity"].number();
         return before && after && *before > 0 ? std::optional(*after / *before - 1) : std::nullopt;
       },
       [](Field r) {
         const auto before = r["evaluation"]["before"]["perplexity"].number();
         const auto after = r["evaluation"]["after"]["perplexity"].number();
         return before && after && *before > 0 ? signed_percent(*after / *before - 1, 3) : "";
       },
       true},
      {"KL", [](Field r) { return r["evaluation"]["kl"].number(); },
       [](Field r) { return with_error(r["evaluation"]["kl"].number(), r["evaluation"]["kl_stderr"].number(), 3); },
       true},
      {"Same first choice", [](Field r) { return r["evaluation"]["top1"].number(); },
       [](Field r) {
         const auto top1 = r["evaluation"]["top1"].number();
         return top1 ? percent(*top1, 3) : "";
       },
       false},
      {"Time", [](Field r) { return r["resources"]["seconds"].number(); },
       [](Field r) {
         const auto seconds = r["resources"]["seconds"].number();
         return seconds ? format_duration(*seconds) : "";
       },
       true},
      {"Peak memory", [](Field r) { return r["resources"]["peak_rss_bytes"].number(); },
       [](Field r) { return bytes_words(r["resources"]["peak_rss_bytes"].number()); }, true},
  };
  return kFigures;
}

// Figures of different models or texts say nothing side by side: warn where they differ.
std::string comparability(const std::vector<Field>& reports) {
  struct Same {
    const char* what;
    std::string (*key)(Field);
  };
  const Same rules[] = {
      {"the models differ", [](Field r) { return r["model"]["fingerprint"].text(); }},
      {"the evaluation texts differ", [](Field r) { return text_name(r["evaluation"]["text"].text()); }},
      {"the evaluations differ in the number of tokens", [](Field r) { return r["evaluation"]["tokens"].words(); }},
      {"the evaluations differ in the length of a window", [](Field r) { return r["evaluation"]["length"].words(); }},
  };
  std::string list;
  for (const Same& rule : rules) {
    std::set<std::string> values;
    for (const Field& report : reports) values.insert(rule.key(report));
    if (values.size() > 1) list += std::string("<li>") + rule.what + "</li>";
  }
  return list.empty()
             ? ""
             : "<div class=\"banner warn\"><b>Not on equal terms</b>Perplexities compare only on the same model "
               "and text. Here<ul>" +
                   list + "</ul></div>\n";
}

std::string table_of_runs(const std::vector<Field>& reports,
                          const std::vector<std::map<std::string, std::string>>& recipes,
                          const std::vector<std::string>& differing) {
  std::string head = "<th></th><th>Run</th>";
  for (const std::string& key : differing) head += "<th>" + html(key) + "</th>";
  std::vector<const Figure*> shown;
  for (const Figure& one : figures()) {
    if (std::any_of(reports.begin(), reports.end(), [&](const Field& r) { return !one.words(r).empty(); })) {
      shown.push_back(&one);
      head += "<th class=\"n\">" + html(one.head) + "</th>";
    }
  }
  std::map<const Figure*, double> best, worst;
  for (const Figure* one : shown) {
    for (const Field& report : reports) {
      const auto value = one->value(report);
      if (!value) continue;
      const double signed_value = one->less_is_better ? *value : -*value;
      best[one] = best.contains(one) ? std::min(best[one], signed_value) : signed_value;
      worst[one] = worst.contains(one) ? std::max(worst[one], signed_value) : signed_value;
    }
  }
  std::string rows;
  for (size_t i = 0; i < reports.size(); ++i) {
    rows += "<tr><td><b>" + letter(i) + "</b></td><td class=\"name\">" + html(run_name(reports[i])) + "</td>";
    for (const std::string& key : differing) {
      const auto found = recipes[i].find(key);
      rows += "<td class=\"mono\">" + (found == recipes[i].end() ? "" : html(found->second)) + "</td>";
    }
    for (const Figure* one : shown) {
      const auto value = one->value(reports[i]);
      const bool is_best = value && best[one] != worst[one] && (one->less_is_better ? *value : -*value) == best[one];
      rows += std::string("<td class=\"n") + (is_best ? " best\">" : "\">") + html(one->words(reports[i])) + "</td>";
    }
    rows += "</tr>\n";
  }
  return "<div class=\"scroll\"><table><thead><tr>" + head + "</tr></thead><tbody>\n" + rows + "</tbody></table></div>";
}

std::string size_against_perplexity(const std::vector<Field>& reports) {
  ScatterChart chart;
  chart.about = "Perplexity against size of every run";
  chart.x_title = "size on disk, MB";
  chart.y_title = "perplexity";
  chart.x_unit = 1e6;
  double low = INFINITY, high = 0;
  for (size_t i = 0; i < reports.size(); ++i) {
    const auto bytes = reports[i]["result"]["bytes"].number();
    const auto perplexity = reports[i]["evaluation"]["after"]["perplexity"].number();
    if (!bytes || !perplexity || *perplexity <= 0) continue;
    low = std::min(low, *perplexity);
    high = std::max(high, *perplexity);
    chart.points.push_back(
        {*bytes, *perplexity, 0,
         run_name(reports[i]) + ": " + bytes_words(bytes) + ", perplexity " + significant(*perplexity, 4), letter(i)});
  }
  if (chart.points.size() < 2) return "";
  chart.y_log = high > 4 * low;
  std::vector<const ChartPoint*> by_size;
  for (const ChartPoint& point : chart.points) by_size.push_back(&point);
  std::sort(by_size.begin(), by_size.end(),
            [](const ChartPoint* a, const ChartPoint* b) { return a->x != b->x ? a->x < b->x : a->y < b->y; });
  double best = INFINITY;
  for (const ChartPoint* point : by_size) {
    if (point->y < best) {
      chart.path.emplace_back(point->x, point->y);
      best = point->y;
    }
  }
  return section("Size against perplexity",
                 "Down and to the left is better. The dashed line joins the runs that no other one beats in both.",
                 draw(chart));
}

std::string kinds_section(const std::vector<Field>& reports) {
  std::vector<std::string> kinds;
  std::vector<std::map<std::string, std::pair<double, int>>> sums(reports.size());
  for (size_t i = 0; i < reports.size(); ++i) {
    for (const Field& layer : reports[i]["layers"].items()) {
      const auto error = layer["relative_loss"].number();
      const std::string kind = layer["kind"].text();
      if (!error || kind.empty()) continue;
      if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
      sums[i][kind].first += *error;
      ++sums[i][kind].second;
    }
  }
  if (kinds.empty()) return "";
  std::string out = "<div class=\"scroll\"><table><thead><tr><th></th><th>Run</th>";
  for (const std::string& kind : kinds) out += "<th class=\"n\">" + html(kind) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (size_t i = 0; i < reports.size(); ++i) {
    out += "<tr><td><b>" + letter(i) + "</b></td><td class=\"name\">" + html(run_name(reports[i])) + "</td>";
    for (const std::string& kind : kinds) {
      const auto found = sums[i].find(kind);
      out += "<td class=\"n\">" +
             (found == sums[i].end() ? "" : percent(found->second.first / found->second.second, 3)) + "</td>";
    }
    out += "</tr>\n";
  }
  return section("Error by kind of layer", "Mean relative error of the layers' outputs on the calibration text.",
                 out + "</tbody></table></div>");
}

}  // namespace

std::string runs_text(const std::vector<Field>& reports) {
  std::vector<std::vector<std::string>> table = {{"run"}};
  for (const Figure& one : figures()) table[0].push_back(one.head);
  for (const Field& report : reports) {
    table.push_back({run_name(report)});
    for (const Figure& one : figures()) table.back().push_back(one.words(report));
  }
  // Width in characters, not bytes; control characters of a hostile report never reach the terminal.
  const auto width = [](const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  };
  std::vector<size_t> widths(table[0].size());
  for (auto& row : table) {
    for (size_t i = 0; i < row.size(); ++i) {
      for (char& c : row[i]) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
      }
      widths[i] = std::max(widths[i], width(row[i]));
    }
  }
  std::string out;
  for (const auto& row : table) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width(row[i]), ' ');
      out += i == 0 ? row[i] + gap : "  " + gap + row[i];
    }
    out += "\n";
  }
  return out;
}

std::string comparison_page(const std::vector<Field>& reports) {
  std::vector<std::map<std::string, std::string>> recipes(reports.size());
  std::set<std::string> keys;
  for (size_t i = 0; i < reports.size(); ++i) {
    flatten(reports[i]["recipe"], "", recipes[i]);
    for (const auto& [key, value] : recipes[i]) keys.insert(key);
  }
  std::vector<std::string> differing;
  std::string common;
  for (const std::string& key : keys) {
    const auto first = recipes[0].find(key);
    const bool same =
        first != recipes[0].end() && std::all_of(recipes.begin(), recipes.end(), [&, key](const auto& recipe) {
          const auto found = recipe.find(key);
          return found != recipe.end() && found->second == first->second;
        });
    if (same)
      common += key + ": " + first->second + "\n";
    else
      differing.push_back(key);
  }

  std::set<std::string> models;
  for (const Field& report : reports) models.insert(model_name(report));
  const std::string title = models.size() == 1 ? *models.begin() : std::to_string(models.size()) + " models";
  std::string body = "<p class=\"eyebrow\">Pare report</p>\n<h1>" + html(title) + ", " +
                     std::to_string(reports.size()) +
                     " ways</h1>\n<p class=\"lead\">What was asked for differently, and what came out of it.</p>\n";
  body += comparability(reports);
  body += section("Runs", "First the parts of the recipes that differ, then the figures; the best of each is green.",
                  table_of_runs(reports, recipes, differing));
  body += size_against_perplexity(reports) + kinds_section(reports);
  if (!common.empty()) body += section("The same in all", "", "<pre>" + html(common) + "</pre>");
  std::string warnings;
  for (size_t i = 0; i < reports.size(); ++i) {
    for (const Field& warning : reports[i]["warnings"].items()) {
      if (!warning.text().empty()) warnings += "<li><b>" + letter(i) + "</b> " + html(warning.text()) + "</li>";
    }
  }
  if (!warnings.empty()) body += section("Warnings of the runs", "", "<ul>" + warnings + "</ul>");
  return whole_page(title + ", compared", body);
}

}  // namespace pare
