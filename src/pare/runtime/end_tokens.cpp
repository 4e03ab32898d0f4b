#include "pare/runtime/end_tokens.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/json.h"

namespace pare {
namespace {

constexpr const char* kTurnEnds[] = {"<|im_end|>",      "<|eot_id|>",    "<|eom_id|>",
                                     "<|end_of_text|>", "<|endoftext|>", "<|end|>",
                                     "<end_of_turn>",   "<|eot|>",       "</s>"};

void add_ids(const nlohmann::json& config, int64_t vocabulary, std::set<int32_t>& ends) {
  const auto found = config.find("eos_token_id");
  if (found == config.end()) return;
  const auto add = [&](const nlohmann::json& id) {
    if (id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(vocabulary))
      ends.insert(id.get<int32_t>());
  };
  if (!found->is_array()) return add(*found);
  for (const auto& id : *found) add(id);
}

}  // namespace

std::vector<int32_t> end_tokens(const ModelFiles& files, const Tokenizer& tokenizer) {
  std::set<int32_t> ends;
  if (const auto eos = tokenizer.eos()) ends.insert(*eos);
  const int64_t vocabulary = tokenizer.vocab_size();
  add_ids(files.config(), vocabulary, ends);
  const auto generation = files.path() / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    const auto config = read_json_file(generation);
    if (config.is_object()) add_ids(config, vocabulary, ends);
  }
  for (const char* name : kTurnEnds) {
    const auto id = tokenizer.id(name);
    if (id && tokenizer.is_special(*id)) ends.insert(*id);
  }
  return {ends.begin(), ends.end()};
}

}  // namespace pare
