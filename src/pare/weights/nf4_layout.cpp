#include "pare/weights/nf4_layout.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

struct Nf4State {
  std::string type;  // "nf4", "fp4"
  std::vector<int64_t> shape;
  int64_t elements = 0, block = 0, blocks = 0, nested_block = 0;
  float nested_offset = 0;
};

int64_t nf4_count(const nlohmann::json& state, const char* key, const std::string& where) {
  const auto found = state.find(key);
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (found == state.end() || !found->is_number_integer() || *found < 1 || *found > kLargest) {
    throw InputError(where + ": " + key + " is " + (found == state.end() ? "missing" : dump_json(*found)) +
                     ", expected a count");
  }
  return found->get<int64_t>();
}

// The JSON, and all tensors against it.
Nf4State nf4_state(const Nf4Parts& parts) {
  const std::string& where = parts.state.name;
  expect_stored(parts.state, {Dtype::u8}, {-1});
  constexpr size_t kLongest = 1 << 16;
  if (parts.state.data.size() > kLongest) {
    throw InputError(where + ": " + std::to_string(parts.state.data.size()) + " bytes of JSON, at most 65536 expected");
  }
  const auto json =
      parse_json({reinterpret_cast<const char*>(parts.state.data.data()), parts.state.data.size()}, where);
  if (!json.is_object()) throw InputError(where + ": expected a JSON object");
  Nf4State s;
  s.type = json.contains("quant_type") && json["quant_type"].is_string() ? json["quant_type"].get<std::string>() : "";
  if (s.type != "nf4" && s.type != "fp4") {
    throw UnsupportedError(where + ": quant_type is \"" + s.type + "\"; nf4 and fp4 are read");
  }
  s.block = nf4_count(json, "blocksize", where);
  const auto shape = json.find("shape");
  if (shape == json.end() || !shape->is_array() || shape->size() != 2) {
    throw InputError(where + ": shape is no list of two numbers");
  }
  for (const auto& dim : *shape) s.shape.push_back(nf4_count({{"shape", dim}}, "shape", where));
  s.elements = s.shape[0] * s.shape[1];  // each at most 2^31

  expect_stored(parts.weight, {Dtype::u8}, std::span(parts.weight.shape));
  const auto bytes = static_cast<int64_t>(parts.weight.data.size());
  if (bytes != s.elements / 2 + s.elements % 2) {
    throw InputError(parts.weight.name + ": " + std::to_string(bytes) + " bytes do not hold " + shape_text(s.shape) +
                     " codes of 4 bits");
  }
  s.blocks = groups_in(s.elements, s.block);
  expect_stored(parts.quant_map, {Dtype::f32}, {16});
  if (!parts.nested_absmax) {
    expect_stored(parts.absmax, {Dtype::f32, Dtype::f16, Dtype::bf16}, {s.blocks});
    return s;
  }
  expect_stored(parts.absmax, {Dtype::u8}, {s.blocks});
  if (!parts.nested_quant_map) throw InputError(parts.absmax.name + ": there is no nested_quant_map that decodes it");
  expect_stored(*parts.nested_quant_map, {Dtype::f32}, {256});
  s.nested_block = nf4_count(json, "nested_blocksize", where);
  expect_stored(*parts.nested_absmax, {Dtype::f32}, {groups_in(s.blocks, s.nested_block)});
  const auto offset = json.find("nested_offset");
  if (offset == json.end() || !offset->is_number()) throw InputError(where + ": nested_offset is no number");
  s.nested_offset = offset->get<float>();
  return s;
}

std::vector<float> nf4_floats(const StoredView& view) {
  std::vector<float> values(view.data.size() / as_size(size_of(view.dtype)));
  to_float(view.dtype, view.data.data(), static_cast<int64_t>(values.size()), values.data());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw InputError(view.name + ": value " + std::to_string(i) + " is not finite. Download the file again");
    }
  }
  return values;
}

std::vector<float> nf4_scales(const Nf4Parts& parts, const Nf4State& s) {
  if (!parts.nested_absmax) return nf4_floats(parts.absmax);
  const std::vector<float> map = nf4_floats(*parts.nested_quant_map), nested = nf4_floats(*parts.nested_absmax);
  std::vector<float> scales(as_size(s.blocks));
  for (int64_t b = 0; b < s.blocks; ++b) {
    const float part = map[parts.absmax.item<uint8_t>(b)] * nested[as_size(b / s.nested_block)];
    scales[as_size(b)] = part + s.nested_offset;
  }
  return scales;
}

}  // namespace

WeightForm nf4_form(const Nf4Parts& parts) {
  const Nf4State s = nf4_state(parts);
  WeightForm form;
  form.shape = s.shape;
  form.dtype = Dtype::f32;
  form.kept = form.elements();
  return form;
}

std::string nf4_words(const Nf4Parts& parts) {
  const Nf4State s = nf4_state(parts);
  return (s.type == "nf4" ? "NF4, blocks of " : "FP4, blocks of ") + std::to_string(s.block) +
         (parts.nested_absmax ? ", scales of 8 bits" : "");
}

Weight unpack_nf4(const Nf4Parts& parts) {
  const Nf4State s = nf4_state(parts);
  const std::vector<float> map = nf4_floats(parts.quant_map), scales = nf4_scales(parts, s);
  std::vector<float> values(as_size(s.elements));
  for (int64_t i = 0; i < s.elements; ++i) {
    const auto byte = parts.weight.item<uint8_t>(i / 2);
    values[as_size(i)] = map[i % 2 == 0 ? byte >> 4 : byte & 15] * scales[as_size(i / s.block)];
  }
  return dense_weight(s.shape, Dtype::f32, values);
}

}  // namespace pare
