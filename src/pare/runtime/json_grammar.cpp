#include "pare/runtime/json_grammar.h"

#include <nlohmann/json.hpp>

#include "pare/runtime/json_rules.h"
#include "pare/runtime/json_schema.h"

namespace pare {
namespace {

using Frame = ByteAutomaton::Frame;

constexpr uint64_t kMostStepsPerByte = 1'000'000;

// Drops the frames that no reading stands on any more. A frame comes behind the one below it.
void drop_unused(std::vector<Frame>& tops, std::vector<Frame>& below) {
  std::vector<uint32_t> place(below.size(), 0);  // 1: used; then its new index
  const auto use = [&](const Frame& frame) {
    if (frame.parent < ByteAutomaton::kUnknown) place[frame.parent] = 1;
  };
  for (const Frame& top : tops) use(top);
  for (size_t i = below.size(); i-- > 0;) {
    if (place[i]) use(below[i]);
  }
  const auto move = [&](Frame& frame) {
    if (frame.parent < ByteAutomaton::kUnknown) frame.parent = place[frame.parent];
  };
  uint32_t kept = 0;
  for (size_t i = 0; i < below.size(); i++) {
    if (!place[i]) continue;
    below[kept] = below[i];
    move(below[kept]);
    place[i] = kept++;
  }
  below.resize(kept);
  for (Frame& top : tops) move(top);
}

}  // namespace

std::shared_ptr<const Grammar> Grammar::json_object() {
  static const std::shared_ptr<const Grammar> grammar = [] {
    auto made = std::make_shared<Grammar>();
    const NodeId start = JsonRules(made->automaton_).any_object(JsonRules::Space::lines);
    made->automaton_.finish(start, "json_object");
    return made;
  }();
  return grammar;
}

std::shared_ptr<const Grammar> Grammar::json_schema(const nlohmann::ordered_json& schema) {
  auto made = std::make_shared<Grammar>();
  made->automaton_ = compile_json_schema(schema);
  return made;
}

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  const ByteAutomaton& automaton = grammar_->automaton();
  ByteAutomaton::Stacks stacks;
  ended_ = automaton.settle(stacks, {.node = automaton.start()}, 0, 0).ended;
  tops_ = std::move(stacks.tops);
  below_ = std::move(stacks.below);
}

bool GrammarState::accept(std::string_view bytes) {
  ByteAutomaton::Stacks stacks{.below = below_, .tops = tops_, .scratch = {}};
  bool ended = ended_;
  for (char byte : bytes) {
    const size_t before = stacks.tops.size();
    stacks.steps = 0;
    stacks.most_steps = kMostStepsPerByte;
    ended = grammar_->automaton().advance(stacks, 0, before, static_cast<uint8_t>(byte)).ended;
    stacks.tops.erase(stacks.tops.begin(), stacks.tops.begin() + static_cast<std::ptrdiff_t>(before));
    if (stacks.tops.empty() && !ended) return false;
  }
  drop_unused(stacks.tops, stacks.below);
  tops_ = std::move(stacks.tops);
  below_ = std::move(stacks.below);
  ended_ = ended;
  return true;
}

}  // namespace pare
