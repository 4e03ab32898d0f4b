#include "pare/kernels/tuning.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/base/resources.h"
#include "pare/base/version.h"
#include "pare/io/output_folder.h"
#include "pare/kernels/isa.h"

namespace pare {
namespace {

using nlohmann::json;

json machine() {
  return {{"cpu", cpu_name()}, {"isa", name_of(current_isa())}, {"pare", version()}};
}

json to_json(const cpu::Variant& v) {
  return {{"fetch_ahead", v.fetch_ahead},
          {"panels", v.panels},
          {"in_registers", v.in_registers},
          {"tile", v.tile},
          {"span_bytes", v.span_bytes}};
}

// Numbers outside of what kernels were made for would be slow, or worse.
int64_t number(const json& object, const char* key, int64_t least, int64_t most) {
  const auto value = object.at(key).get<int64_t>();
  if (value < least || value > most) throw InputError(std::string(key) + ": " + std::to_string(value));
  return value;
}

cpu::Variant to_variant(const json& object) {
  return {static_cast<int32_t>(number(object, "fetch_ahead", 0, 1 << 16)),
          static_cast<int32_t>(number(object, "panels", 1, 2)), object.at("in_registers").get<bool>(),
          static_cast<int32_t>(number(object, "tile", 1, cpu::kTile)),
          number(object, "span_bytes", 1, int64_t{1} << 32)};
}

}  // namespace

std::filesystem::path TuningTable::usual_file() {
  return cache_folder() / "tuning.json";
}

TuningTable TuningTable::load(const std::filesystem::path& file) {
  TuningTable table;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return table;
  try {
    const json root = read_json_file(file, size_t{16} << 20);
    if (root.at("machine") != machine()) return table;
    for (const json& entry : root.at("products")) {
      Variants variants;
      for (size_t i = 0; i < variants.of_class.size(); ++i) {
        variants.of_class[i] = to_variant(entry.at("variants").at(i));
      }
      table.set({entry.at("layout").get<std::string>(), entry.at("rows").get<int64_t>(),
                 entry.at("cols").get<int64_t>(), entry.at("threads").get<int>()},
                variants);
    }
  } catch (const std::exception& e) {
    log_line(Level::warning, file.string() + " is damaged (" + e.what() + ") and not used. Run `pare tune` again.");
    return {};
  }
  return table;
}

Variants TuningTable::find(const ProductKey& key) const {
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? Variants{} : entry->second;
}

void TuningTable::save(const std::filesystem::path& file) const {
  json products = json::array();
  for (const auto& [key, variants] : entries_) {
    json list = json::array();
    for (const cpu::Variant& variant : variants.of_class) list.push_back(to_json(variant));
    products.push_back(
        {{"layout", key.layout}, {"rows", key.rows}, {"cols", key.cols}, {"threads", key.threads}, {"variants", list}});
  }
  std::error_code error;
  if (!file.parent_path().empty()) std::filesystem::create_directories(file.parent_path(), error);
  write_file_atomically(file, dump_json({{"machine", machine()}, {"products", products}}, 1) + "\n");
}

}  // namespace pare
