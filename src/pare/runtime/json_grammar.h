// Text that a model writes, held to JSON or to a JSON schema: OpenAI's response_format json_object and json_schema.
//
//   auto grammar = Grammar::json_schema(schema);           once for a request; may be shared and kept
//   GrammarState state(grammar);                           for each sequence
//   mask(state, trie, logits);  id = sampler.draw(...)     for each token
//   if (trie.is_end(id)) stop;  state.accept(trie.bytes(id));
//   if (state.must_end()) stop;
//
// json_object: any object. json_schema: what a schema becomes is said in json_schema.h. How text is written (space,
// lengths of numbers) is said in json_rules.h; at most kDeepest containers are open at once.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "pare/runtime/byte_automaton.h"
#include "pare/runtime/token_mask.h"

namespace pare {

class Grammar {
 public:
  static std::shared_ptr<const Grammar> json_object();  // the same one each time
  // Parse the schema with parse_ordered_json: its depth is bounded there, and properties are written in its order.
  // UnsupportedError or InputError with the JSON pointer of what is at fault.
  static std::shared_ptr<const Grammar> json_schema(const nlohmann::ordered_json& schema);

  const ByteAutomaton& automaton() const { return automaton_; }
  MaskCache& cache() const { return cache_; }

 private:
  ByteAutomaton automaton_;
  mutable MaskCache cache_;
};

// Where a text stands in its grammar. Cheap to copy.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);

  // The next bytes of the text. False, and nothing changed, when the grammar does not go on with them. ResourceError
  // when a schema leaves too many readings open.
  bool accept(std::string_view bytes);
  bool can_end() const { return ended_; }
  bool must_end() const { return ended_ && tops_.empty(); }  // nothing more may come

  const Grammar& grammar() const { return *grammar_; }
  std::span<const ByteAutomaton::Frame> tops() const { return tops_; }
  std::span<const ByteAutomaton::Frame> below() const { return below_; }

 private:
  std::shared_ptr<const Grammar> grammar_;
  std::vector<ByteAutomaton::Frame> tops_;   // of the open readings
  std::vector<ByteAutomaton::Frame> below_;  // what is under them, shared
  bool ended_ = false;
};

}  // namespace pare
