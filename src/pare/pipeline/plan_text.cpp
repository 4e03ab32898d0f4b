// The plan as people and machines read it.

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/base/units.h"
#include "pare/pipeline/plan.h"

namespace pare {
namespace {

std::string pad(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

// "note: " text, wrapped at 78 columns.
std::string wrapped(const std::string& first, const std::string& text) {
  const std::string indent(first.size(), ' ');
  std::string result = first;
  size_t column = first.size();
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find(' ', at);
    if (end == std::string::npos) end = text.size();
    if (column + (end - at) > 78 && column > indent.size()) {
      result.back() = '\n';  // for the space
      result += indent;
      column = indent.size();
    }
    result += text.substr(at, end - at) + (end < text.size() ? " " : "");
    column += end - at + 1;
    at = end + 1;
  }
  return result + "\n";
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t dim : shape) text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text;
}

}  // namespace

std::string Plan::text() const {
  std::string text = "Plan\n";
  struct Row {
    int count = 0;
    uint64_t before = 0, after = 0;
  };
  std::map<std::tuple<std::string, std::string, std::string, std::string>, Row> rows;  // alike layers in one line
  std::vector<decltype(rows)::key_type> order;
  for (const LayerPlan& layer : layers) {
    const auto key = std::tuple(layer.kind, shape_text(layer.form.shape), layer.wish.method, layer.form.describe());
    auto [row, is_new] = rows.try_emplace(key);
    if (is_new) order.push_back(key);
    ++row->second.count;
    row->second.before += layer.bytes_before;
    row->second.after += layer.bytes_after;
  }
  std::vector<std::array<std::string, 5>> cells;
  for (const auto& key : order) {
    const auto& [kind, shape, method, form] = key;
    const Row& row = rows.at(key);
    cells.push_back({std::to_string(row.count) + " x " + kind, shape, method, form,
                     format_bytes(row.before) + " -> " + format_bytes(row.after)});
  }
  std::array<size_t, 5> widths{};
  for (const auto& line : cells) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size() + 1);
  }
  for (const auto& line : cells) {
    text += "  ";
    for (size_t i = 0; i + 1 < line.size(); ++i) text += pad(line[i], widths[i]);
    text += line.back() + "\n";
  }
  std::map<std::string, std::pair<int, uint64_t>> alone;  // by reason
  for (const LeftAlone& item : left_alone) {
    ++alone[item.why].first;
    alone[item.why].second += item.bytes;
  }
  for (const auto& [why, figures] : alone) {
    text +=
        wrapped("  left alone     ", std::to_string(figures.first) + " (" + format_bytes(figures.second) + "): " + why);
  }
  for (const std::string& note : notes) text += wrapped("  note           ", note);
  char figure[64];
  std::snprintf(figure, sizeof figure, " (%.2f bits a weight where compressed)", bits_per_weight);
  text += "  result         " + format_bytes(bytes_before) + " -> " + format_bytes(sizes.weight_bytes) + " as " +
          std::string(name_of(format)) + figure + "\n";
  const std::vector<std::string> lines = sizes.lines();
  for (size_t i = 0; i < lines.size(); ++i)
    text += (i == 0 ? "  exactly        " : "                 ") + lines[i] + "\n";
  text += wrapped(
      "  memory         ",
      "about " + format_bytes(memory.peak_bytes) + " at most (one block " + format_bytes(memory.block_bytes) +
          ", curvature " + format_bytes(memory.curvature_bytes) + ", activations " +
          format_bytes(memory.activations_bytes) + (memory.spill_activations ? " kept on disk" : "") + ", evaluation " +
          format_bytes(memory.evaluation_bytes) +
          (memory.gradient_bytes > 0 ? ", gradients " + format_bytes(memory.gradient_bytes) : "") +
          (memory.own_text_bytes > 0 ? ", writing its own text " + format_bytes(memory.own_text_bytes) : "") + ")");
  text += "  disk           " + format_bytes(disk_bytes) + " while it runs\n";
  text +=
      wrapped("  time           ",
              "about " + format_duration(seconds) +
                  (calibration_tokens > 0 ? " for " + std::to_string(calibration_tokens) + " calibration tokens" : "") +
                  ", if a thread does 100 Gflop/s");
  return text;
}

nlohmann::json LayerPlan::to_json() const {
  return {{"name", name},
          {"kind", kind},
          {"block", block},
          {"shape", form.shape},
          {"method", wish.method},
          {"form", form.describe()},
          {"bytes_before", bytes_before},
          {"bytes_after", bytes_after}};
}

nlohmann::json Plan::to_json() const {
  nlohmann::json result{{"format", name_of(format)},
                        {"notes", notes},
                        {"bytes_before", bytes_before},
                        {"bytes", sizes.weight_bytes},
                        {"files", nlohmann::json::array()},
                        {"bits_per_weight", bits_per_weight},
                        {"peak_bytes", memory.peak_bytes},
                        {"gradient_bytes", memory.gradient_bytes},
                        {"own_text_bytes", memory.own_text_bytes},
                        {"spill_activations", memory.spill_activations},
                        {"disk_bytes", disk_bytes},
                        {"seconds", seconds},
                        {"flops", flops},
                        {"calibration_tokens", calibration_tokens}};
  for (size_t i = 0; i < sizes.file_names.size(); ++i) {
    result["files"].push_back({{"name", sizes.file_names[i]}, {"bytes", sizes.file_bytes[i]}});
  }
  for (const LayerPlan& layer : layers) {
    result["layers"].push_back(layer.to_json());
  }
  for (const LeftAlone& item : left_alone) {
    result["left_alone"].push_back(
        {{"name", item.name}, {"why", item.why}, {"form", item.form.describe()}, {"bytes", item.bytes}});
  }
  return result;
}

}  // namespace pare
