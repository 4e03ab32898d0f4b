#include "pare/pipeline/report_page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "pare/base/units.h"
#include "pare/pipeline/report_style.h"
#include "pare/pipeline/svg.h"

namespace pare {
namespace {

constexpr std::array kKinds = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

// The kinds of a run in the order of a block, others after them as they come: the index is the series in the charts.
std::vector<std::string> kinds_of(const std::vector<Field>& layers) {
  std::vector<std::string> present(kKinds.begin(), kKinds.end());
  for (const Field& layer : layers) {
    const std::string kind = layer["kind"].text();
    if (!kind.empty() && std::find(present.begin(), present.end(), kind) == present.end()) present.push_back(kind);
  }
  return present;
}

int series_of(const std::vector<std::string>& kinds, const std::string& kind) {
  return static_cast<int>(std::find(kinds.begin(), kinds.end(), kind) - kinds.begin());
}

bool is_attention(const std::string& kind) {
  return kind == "q_proj" || kind == "k_proj" || kind == "v_proj" || kind == "o_proj";
}

// "210 layers: gptq, 4-bit, groups of 64", most frequent first.
std::string what_was_done(const std::vector<Field>& layers) {
  std::map<std::string, int> counts;
  for (const Field& layer : layers) {
    std::string words = layer["method"].text();
    const std::string form = layer["form"].text();
    if (!form.empty()) words += (words.empty() ? "" : ", ") + form;
    if (!words.empty()) ++counts[words];
  }
  std::vector<std::pair<int, std::string>> ordered;
  for (const auto& [words, count] : counts) ordered.emplace_back(-count, words);
  std::sort(ordered.begin(), ordered.end());
  std::string out;
  for (size_t i = 0; i < ordered.size() && i < 3; ++i) {
    out += (i == 0 ? "" : "; ") + std::to_string(-ordered[i].first) +
           (ordered[i].first == -1 ? " layer: " : " layers: ") + ordered[i].second;
  }
  if (ordered.size() > 3) out += "; and " + std::to_string(ordered.size() - 3) + " other forms";
  return out;
}

std::string figure(const std::string& what, const std::string& value, const std::string& was) {
  return "<div class=\"figure\"><div class=\"what\">" + what + "</div><div class=\"value\">" + value +
         "</div><div class=\"was\">" + was + "</div></div>";
}

std::string headline(Field report) {
  std::string cards;
  const auto before = report["model"]["bytes"].number(), after = report["result"]["bytes"].number();
  if (after) {
    std::string note;
    if (before && *after > 0) {
      const double times = *before / *after;
      note = "from " + bytes_words(before) + ", " +
             (times >= 1 ? significant(times, 3) + " times smaller" : significant(1 / times, 3) + " times larger");
    }
    cards += figure("Size on disk", html(bytes_words(after)), html(note));
  }
  if (const auto bits = report["result"]["bits_per_weight"].number()) {
    std::string note;
    if (const auto sparsity = report["result"]["sparsity"].number(); sparsity && *sparsity > 0) {
      note = percent(*sparsity, 3) + " of the weights are zero";
    }
    cards += figure("Bits a weight", significant(*bits, 3), html(note));
  }
  const Field evaluation = report["evaluation"];
  const auto was = evaluation["before"]["perplexity"].number(), is = evaluation["after"]["perplexity"].number();
  if (is) {
    std::string note;
    if (was && *was > 0) note = "from " + significant(*was, 4) + ", " + signed_percent(*is / *was - 1, 3);
    cards += figure("Perplexity", significant(*is, 4), html(note));
  } else if (evaluation["after"]["perplexity"].is_null()) {
    cards += figure("Perplexity", "<span class=\"bad-text\">not finite</span>", "");
  }
  if (const auto kl = evaluation["kl"].number()) {
    const auto error = evaluation["kl_stderr"].number();
    cards += figure("KL divergence", significant(*kl, 3),
                    error ? "± " + significant(*error, 2) + " nats a token" : "nats a token");
  }
  if (const auto top1 = evaluation["top1"].number()) {
    const auto error = evaluation["top1_stderr"].number();
    cards += figure("Same first choice", percent(*top1, 3), error ? "± " + percent(*error, 2) : "of the next token");
  }
  return cards.empty() ? "" : "<div class=\"figures\">" + cards + "</div>\n";
}

std::string verdict(Field report) {
  std::string out;
  if (const auto met = report["goal"]["met"].flag()) {
    const std::string why = report["goal"]["why"].text();
    out += std::string("<div class=\"banner ") + (*met ? "ok" : "bad") + "\"><b class=\"" +
           (*met ? "good\">Goal met" : "bad-text\">Goal missed; the result was kept") + "</b>" + html(why) + "</div>\n";
  }
  std::string list;
  for (const Field& warning : report["warnings"].items()) {
    if (!warning.text().empty()) list += "<li>" + html(warning.text()) + "</li>";
  }
  if (!list.empty()) out += "<div class=\"banner warn\"><b>Please read</b><ul>" + list + "</ul></div>\n";
  return out;
}

std::string evaluation_section(Field report) {
  const Field evaluation = report["evaluation"];
  std::vector<Interval> intervals;
  for (const auto& [key, label, tone] : {std::tuple("before", "Before", 0), std::tuple("after", "After", 1)}) {
    const Field side = evaluation[key];
    const auto value = side["perplexity"].number();
    if (!value) continue;
    const double error = std::fabs(side["perplexity_stderr"].number().value_or(0));
    intervals.push_back({label, *value, error, with_error(value, side["perplexity_stderr"].number(), 4), tone});
  }
  std::string content = draw_intervals(intervals, "Perplexity before and after, with standard errors");
  std::string text = evaluation["text"].text();
  std::string note = "Perplexity, the mark, with its standard error, the bar. Lower is better.";
  if (!text.empty()) {
    note += " Measured on " + text_name(text);
    if (const auto tokens = evaluation["tokens"].number()) note += ", " + grouped_digits(*tokens) + " tokens";
    if (const auto length = evaluation["length"].number()) note += " in windows of " + grouped_digits(*length);
    note += ".";
  }
  return section("What it cost", note, content);
}

std::string error_by_layer(const std::vector<Field>& layers, const std::vector<std::string>& kinds) {
  ScatterChart chart;
  chart.about = "Relative output error of every layer by block";
  chart.x_title = "block";
  chart.y_title = "error of the layer's output, relative";
  chart.height = 340;
  chart.y_log = chart.y_percent = chart.x_whole = chart.join_series = true;
  std::vector<bool> used(kinds.size());
  int zeros = 0;
  for (const Field& layer : layers) {
    const auto block = layer["block"].number(), error = layer["relative_loss"].number();
    const int series = series_of(kinds, layer["kind"].text());
    if (!block || !error || series == static_cast<int>(kinds.size())) continue;
    if (*error <= 0) {
      ++zeros;
      continue;
    }
    used[static_cast<size_t>(series)] = true;
    chart.points.push_back({*block, *error, series, layer["name"].text() + ": " + percent(*error, 3), ""});
  }
  std::string drawing = draw(chart);
  if (drawing.empty()) return "";
  drawing += "<ul class=\"legend\">";
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (used[i]) drawing += "<li>" + legend_marker(static_cast<int>(i)) + html(kinds[i]) + "</li>";
  }
  drawing += "</ul>";
  std::string note =
      "How much of each layer's output changed on the calibration text: the mean squared error over the mean square. "
      "The "
      "scale is logarithmic.";
  if (zeros > 0)
    note += " " + std::to_string(zeros) + (zeros == 1 ? " layer is" : " layers are") + " exact and not shown.";
  return section("Error by layer", note, drawing);
}

std::string error_by_kind(const std::vector<Field>& layers, const std::vector<std::string>& kinds) {
  struct Sum {
    double error = 0, rtn = 0;
    int count = 0, rtn_count = 0;
  };
  std::vector<Sum> sums(kinds.size());
  for (const Field& layer : layers) {
    const auto error = layer["relative_loss"].number();
    const size_t kind = static_cast<size_t>(series_of(kinds, layer["kind"].text()));
    if (!error || kind == kinds.size()) continue;
    sums[kind].error += *error;
    ++sums[kind].count;
    const auto loss = layer["loss"].number(), rtn = layer["rtn_loss"].number();
    if (loss && rtn && *loss > 0 && *rtn > 0) {
      sums[kind].rtn += *error * *rtn / *loss;
      ++sums[kind].rtn_count;
    }
  }
  std::vector<Bar> bars;
  bool notches = false;
  for (size_t i = 0; i < kinds.size(); ++i) {
    const Sum& sum = sums[i];
    if (sum.count == 0) continue;
    Bar bar{kinds[i], sum.error / sum.count, percent(sum.error / sum.count, 3), static_cast<int>(i), {}, ""};
    bar.title = kinds[i] + ": mean of " + std::to_string(sum.count) + " layers";
    if (sum.rtn_count == sum.count) bar.notch = sum.rtn / sum.count;
    notches = notches || bar.notch.has_value();
    bars.push_back(bar);
  }
  std::string note = "The mean over the layers of a kind.";
  if (notches) note += " The thin line is what plain rounding on the same grid would have cost.";
  return section("Error by kind of layer", note, draw_bars(bars, "Mean relative error of each kind of layer"));
}

std::string sizes_section(Field report, const std::vector<Field>& layers) {
  const auto before = report["model"]["bytes"].number(), after = report["result"]["bytes"].number();
  if (!before || !after) return "";
  std::array<double, 3> was{}, is{};  // attention, MLP and other layers
  for (const Field& layer : layers) {
    const std::string kind = layer["kind"].text();
    const bool mlp = kind == "gate_proj" || kind == "up_proj" || kind == "down_proj";
    const size_t part = is_attention(kind) ? 0 : mlp ? 1 : 2;
    was[part] += std::max(0.0, layer["bytes_before"].number().value_or(0));
    is[part] += std::max(0.0, layer["bytes_after"].number().value_or(0));
  }
  double left_alone = 0;
  for (const Field& one : report["left_alone"].items()) left_alone += std::max(0.0, one["bytes"].number().value_or(0));
  const auto bar = [&](const std::string& label, double whole, const std::array<double, 3>& parts) {
    const double layers_sum = parts[0] + parts[1] + parts[2];
    const double rest = std::max(0.0, whole - layers_sum);
    const double alone = std::min(left_alone, rest);
    return StackedBar{label,
                      bytes_words(whole),
                      {{"attention", parts[0], 1},
                       {"MLP", parts[1], 2},
                       {"other layers", parts[2], 0},
                       {"left alone", alone, 3},
                       {"headers and the rest", rest - alone > whole * 0.002 ? rest - alone : 0, 4}}};
  };
  std::string note;
  if (const auto planned = report["result"]["planned_bytes"].number()) {
    note = *planned == *after ? "The result has the planned size to the byte."
                              : "Planned were " + bytes_words(planned) + ".";
  }
  return section(
      "Where the bytes are", note,
      draw_stacked({bar("Before", *before, was), bar("After", *after, is)}, "Sizes before and after, by part"));
}

std::string short_layer_name(const std::string& name) {
  constexpr std::string_view prefix = "model.layers.";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// A column is there only when some layer has something to say in it.
std::string layer_table(const std::vector<Field>& layers, const std::vector<std::string>& kinds) {
  struct Column {
    std::string head;
    bool number;
    std::vector<std::string> cells;
  };
  std::vector<Column> columns = {{"Layer", false, {}},       {"Form", false, {}},   {"Error", true, {}},
                                 {"vs. rounding", true, {}}, {"Damping", true, {}}, {"Dead inputs", true, {}},
                                 {"Rows kept", true, {}},    {"Zeros", true, {}},   {"Before", true, {}},
                                 {"After", true, {}},        {"Time", true, {}},    {"Warnings", false, {}}};
  const auto count_cell = [](std::optional<double> count) {
    return count && *count > 0 ? grouped_digits(*count) : std::string();
  };
  for (const Field& layer : layers) {
    const auto error = layer["relative_loss"].number(), loss = layer["loss"].number(), rtn = layer["rtn_loss"].number();
    const auto damp = layer["damp"].number(), sparsity = layer["sparsity"].number(),
               seconds = layer["seconds"].number();
    const int series = series_of(kinds, layer["kind"].text());
    std::string mark = series < static_cast<int>(kinds.size()) ? legend_marker(series) + " " : "";
    std::string method = layer["method"].text(), form = layer["form"].text();
    std::string warnings;
    for (const Field& warning : layer["warnings"].items()) warnings += (warnings.empty() ? "" : "; ") + warning.text();
    const std::string cells[] = {mark + html(short_layer_name(layer["name"].text())),
                                 html(method + (method.empty() || form.empty() ? "" : ", ") + form),
                                 error                              ? percent(*error, 3)
                                 : layer["relative_loss"].is_null() ? "not finite"
                                                                    : "",
                                 loss && rtn && *rtn > 0 ? "× " + significant(*loss / *rtn, 2) : "",
                                 damp && *damp > 0 ? significant(*damp, 2) : "",
                                 count_cell(layer["dead_inputs"].number()),
                                 count_cell(layer["rows_kept_rtn"].number()),
                                 sparsity && *sparsity > 0.0005 ? percent(*sparsity, 3) : "",
                                 html(bytes_words(layer["bytes_before"].number())),
                                 html(bytes_words(layer["bytes_after"].number())),
                                 seconds ? html(format_duration(*seconds)) : "",
                                 html(warnings)};
    for (size_t i = 0; i < columns.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  if (layers.empty()) return "";
  std::erase_if(columns, [](const Column& column) {
    return std::all_of(column.cells.begin(), column.cells.end(), [](const std::string& cell) { return cell.empty(); });
  });
  std::string table = "<div class=\"scroll\"><table><thead><tr>";
  for (const Column& column : columns) {
    table += std::string("<th") + (column.number ? " class=\"n\">" : ">") + column.head + "</th>";
  }
  table += "</tr></thead><tbody>\n";
  for (size_t row = 0; row < layers.size(); ++row) {
    table += "<tr>";
    for (size_t i = 0; i < columns.size(); ++i) {
      table += std::string("<td") +
               (columns[i].number ? " class=\"n\">"
                : i == 0          ? " class=\"name\">"
                                  : ">") +
               columns[i].cells[row] + "</td>";
    }
    table += "</tr>\n";
  }
  return table + "</tbody></table></div>";
}

std::string layers_section(const std::vector<Field>& layers, const std::vector<std::string>& kinds) {
  const std::string table = layer_table(layers, kinds);
  if (table.empty()) return "";
  return section("Layers", "",
                 "<details><summary>All " + std::to_string(layers.size()) + " layers with their figures</summary>" +
                     table + "</details>");
}

std::string left_alone_section(Field report) {
  struct Reason {
    int count = 0;
    double bytes = 0;
    std::string names;
  };
  std::map<std::string, Reason> reasons;
  for (const Field& one : report["left_alone"].items()) {
    const std::string name = one["name"].text();
    Reason& reason = reasons[one["why"].text()];
    if (++reason.count <= 3) reason.names += (reason.count == 1 ? "" : ", ") + name;
    reason.bytes += one["bytes"].number().value_or(0);
  }
  if (reasons.empty()) return "";
  std::vector<std::pair<std::string, Reason>> ordered(reasons.begin(), reasons.end());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string rows;
  for (const auto& [why, reason] : ordered) {
    rows += "<tr><td>" + html(reason.names) +
            (reason.count > 3 ? " <span class=\"note\">and " + std::to_string(reason.count - 3) + " more</span>" : "") +
            "</td><td>" + html(why) + "</td><td class=\"n\">" + html(bytes_words(reason.bytes)) + "</td></tr>\n";
  }
  return section("Left alone, and why", "",
                 "<div class=\"scroll\"><table class=\"wrap\"><thead><tr><th>What</th><th>Why</th><th "
                 "class=\"n\">Size</th></tr></thead>"
                 "<tbody>" +
                     rows + "</tbody></table></div>");
}

std::string sample_section(Field report) {
  const Field sample = report["sample"];
  std::string content;
  for (const auto& [key, label] : {std::pair("before", "Before"), std::pair("after", "After")}) {
    if (sample[key].text().empty()) continue;
    content += std::string("<div><h3>") + label + "</h3><blockquote class=\"" + key + "\"><span class=\"prompt\">" +
               html(sample["prompt"].text()) + "</span>" + html(sample[key].text()) + "</blockquote></div>";
  }
  return content.empty()
             ? ""
             : section("In its own words", "The prompt is grey.", "<div class=\"two\">" + content + "</div>");
}

// dt/dd of what is known; the values are plain text.
std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out;
  for (const auto& [what, value] : rows) {
    if (!value.empty()) out += "<dt>" + html(what) + "</dt><dd>" + html(value) + "</dd>";
  }
  return out.empty() ? "" : "<dl>" + out + "</dl>";
}

std::string count_of(Field field) {
  const auto number = field.number();
  return number ? grouped_digits(*number) : "";
}

std::string recipe_section(Field report) {
  std::string left;
  if (const std::string yaml = yaml_text(report["recipe"]); !yaml.empty()) {
    left = "<div><h3>Recipe</h3><pre>" + html(yaml) + "</pre></div>";
  }
  const Field calibration = report["calibration"];
  const std::string list = facts({{"Source", calibration["source"].text()},
                                  {"Samples", count_of(calibration["samples"])},
                                  {"Tokens a sample", count_of(calibration["length"])},
                                  {"Tokens in all", count_of(calibration["tokens"])},
                                  {"Seed", count_of(calibration["seed"])}});
  if (!list.empty()) left += "<div><h3>Calibration text</h3>" + list + "</div>";
  if (!report["command"].text().empty()) {
    left += "</div><h3>Command</h3><pre class=\"wrap\">" + html(report["command"].text()) + "</pre><div>";
  }
  return left.empty() ? "" : section("How it was made", "", "<div class=\"two\">" + left + "</div>");
}

std::string resources_section(Field report) {
  const Field resources = report["resources"];
  std::vector<Bar> phases;
  for (const auto& [name, seconds] : resources["phases"].entries()) {
    if (seconds.number()) phases.push_back({name, *seconds.number(), format_duration(*seconds.number()), 1, {}, name});
  }
  std::stable_sort(phases.begin(), phases.end(), [](const Bar& a, const Bar& b) { return a.value > b.value; });
  std::string left = draw_bars(phases, "Time by phase");
  if (!left.empty()) left = "<div><h3>Time by phase</h3>" + left + "</div>";
  const auto seconds = resources["seconds"].number();
  const auto peak = resources["peak_rss_bytes"].number(), planned = resources["planned_peak_bytes"].number();
  std::string memory;
  if (peak || planned) {
    std::vector<Bar> bars;
    if (planned) bars.push_back({"planned", *planned, bytes_words(planned), 3, {}, ""});
    if (peak) bars.push_back({"measured", *peak, bytes_words(peak), 0, {}, ""});
    memory = "<h3>Peak memory</h3>" + draw_bars(bars, "Peak memory, planned and measured");
  }
  const std::string list = facts({{"In all", seconds ? format_duration(*seconds) : ""},
                                  {"Threads", count_of(resources["threads"])},
                                  {"Processor", resources["cpu"].text()}});
  std::string right = memory + list;
  if (!right.empty()) right = "<div>" + right + "</div>";
  if (left.empty() && right.empty()) return "";
  return section("Time and memory", "", "<div class=\"two\">" + left + right + "</div>");
}

std::string provenance(Field report) {
  const Field pare = report["pare"];
  std::string version = pare["version"].text();
  if (!pare["git"].text().empty()) version += " (" + pare["git"].text() + ")";
  const auto parameters = report["model"]["parameters"].number();
  const std::string list = facts({{"Model", report["model"]["path"].text()},
                                  {"Architecture", report["model"]["architecture"].text()},
                                  {"Parameters", parameters ? count_words(*parameters) : ""},
                                  {"Format", report["model"]["format"].text()},
                                  {"Fingerprint", report["model"]["fingerprint"].text()},
                                  {"Result", report["result"]["path"].text()},
                                  {"Result's format", report["result"]["format"].text()},
                                  {"Calibration's fingerprint", report["calibration"]["fingerprint"].text()},
                                  {"Pare", version},
                                  {"Compiler", pare["compiler"].text()},
                                  {"torch", pare["torch"].text()},
                                  {"Seed", report["seed"].text()}});
  return list.empty() ? "" : section("To make it again", "", list);
}

}  // namespace

std::string one_run_page(Field report) {
  const std::vector<Field> layers = report["layers"].items();
  const std::vector<std::string> kinds = kinds_of(layers);
  const std::string name = model_name(report);
  std::string body = "<p class=\"eyebrow\">Pare report</p>\n<h1>" + html(name) + "</h1>\n";
  if (const std::string done = what_was_done(layers); !done.empty())
    body += "<p class=\"lead\">" + html(done) + "</p>\n";
  body += headline(report) + verdict(report) + evaluation_section(report) + sizes_section(report, layers) +
          error_by_layer(layers, kinds) + error_by_kind(layers, kinds) + sample_section(report) +
          layers_section(layers, kinds) + left_alone_section(report) + recipe_section(report) +
          resources_section(report) + provenance(report);
  return whole_page(name + ", made smaller", body);
}

std::string whole_page(const std::string& title, const std::string& body) {
  return std::string(kPageMark) +
         "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, "
         "initial-scale=1\">\n<title>" +
         html(title) + "</title>\n<style>" + std::string(kReportStyle) + "</style></head>\n<body>" +
         marker_definitions() + "<main>\n" + body +
         "<footer>Drawn by Pare from report.json, which holds all of these figures.</footer>\n</main></body></html>\n";
}

std::string section(const std::string& heading, const std::string& note, const std::string& content) {
  if (content.empty()) return "";
  return "<section><h2>" + html(heading) + "</h2>" + (note.empty() ? "" : "<p class=\"note\">" + html(note) + "</p>") +
         content + "</section>\n";
}

std::string bytes_words(std::optional<double> bytes) {
  if (!bytes || !(*bytes >= 0) || *bytes > 9e18) return "";
  std::string words = format_bytes(static_cast<uint64_t>(*bytes));
  if (const size_t space = words.find(' '); space != std::string::npos) words.replace(space, 1, "\u00a0");
  return words;
}

std::string model_name(Field report) {
  const std::string path = report["model"]["path"].text();
  return path.empty() ? "A model" : last_component(path);
}

std::string with_error(std::optional<double> value, std::optional<double> error, int digits) {
  if (!value) return "";
  return significant(*value, digits) + (error ? " ± " + significant(*error, 2) : "");
}

}  // namespace pare
