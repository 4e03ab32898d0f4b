// tokenizer.json, read as a stream: a vocabulary of 256,000 pieces and 580,000 merges never becomes a tree of JSON
// values, which would take seconds and gigabytes. Everything else does.

#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/error.h"
#include "pare/text/gguf_wordpiece.h"
#include "pare/text/tokenizer_parts.h"

namespace pare {
namespace {

using Json = nlohmann::json;

class Reader : public nlohmann::json_sax<Json> {
 public:
  Reader(const std::string& where, TokenizerParts& parts) : where_(where), parts_(parts) {}

  Json root;  // the file without model.vocab and model.merges
  bool has_vocabulary = false, has_merges = false;

  bool null() override { return value(Json(nullptr)); }
  bool boolean(bool b) override { return value(Json(b)); }
  bool number_integer(number_integer_t n) override {
    if (in_vocabulary_) return piece(n);
    return value(Json(n));
  }
  bool number_unsigned(number_unsigned_t n) override {
    if (in_vocabulary_) return piece(n > static_cast<uint64_t>(kMostTokens) ? kMostTokens : static_cast<int64_t>(n));
    return value(Json(n));
  }
  bool number_float(number_float_t n, const string_t&) override { return value(Json(n)); }
  bool binary(binary_t&) override { return true; }

  bool string(string_t& text) override {
    if (!in_merges_) return value(Json(std::move(text)));
    if (in_pair_) {
      if (pair_items_ == 0) pair_.first = std::move(text);
      if (pair_items_ == 1) pair_.second = std::move(text);
      pair_items_++;
    } else if (text.compare(0, 8, "#version") != 0) {
      // "a b": pieces that hold a space themselves need the newer form, pairs
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        throw InputError(merge_place() + ": expected two pieces with a space between them, found \"" + text + "\"");
      }
      parts_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (in_vocabulary_ || in_merges_) bad_value("an object");
    if (at_model_key("vocab")) {
      has_vocabulary = in_vocabulary_ = true;
      return true;
    }
    return open(Json::object());
  }
  bool key(string_t& name) override {
    if (in_vocabulary_) {
      piece_ = std::move(name);
      return true;
    }
    if (!keys_.back().insert(name).second) {
      throw InputError(where_ + ": key \"" + name + "\" appears twice");
    }
    key_ = std::move(name);
    return true;
  }
  bool end_object() override {
    if (in_vocabulary_) {
      in_vocabulary_ = false;
      return true;
    }
    return close();
  }
  bool start_array(std::size_t) override {
    if (in_merges_ && !in_pair_) {
      in_pair_ = true;
      pair_items_ = 0;
      return true;
    }
    if (in_vocabulary_ || in_merges_) bad_value("a list");
    if (at_model_key("merges")) {
      has_merges = in_merges_ = true;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (in_pair_) {
      in_pair_ = false;
      if (pair_items_ != 2) {
        throw InputError(merge_place() + ": expected two pieces, found " + std::to_string(pair_items_));
      }
      parts_.merges.push_back(std::move(pair_));
      return true;
    }
    if (in_merges_) {
      in_merges_ = false;
      return true;
    }
    return close();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    throw InputError(where_ + ": not valid JSON: " + error.what());
  }

 private:
  static constexpr size_t kDeepest = 64;

  std::string merge_place() const { return where_ + ": model: merges[" + std::to_string(parts_.merges.size()) + "]"; }
  [[noreturn]] void bad_value(const std::string& found) const {
    if (in_vocabulary_) {
      throw InputError(where_ + ": model: vocab: piece \"" + piece_ + "\": expected an id, found " + found);
    }
    throw InputError(merge_place() + ": expected two pieces, found " + found);
  }
  bool at_model_key(const char* name) const { return open_.size() == 2 && model_open_ && key_ == name; }

  bool piece(int64_t id) {
    parts_.pieces.emplace_back(std::move(piece_), id);
    return true;
  }

  Json* put(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool value(Json value) {
    if (in_vocabulary_ || in_merges_) {
      bad_value(value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60));
    }
    put(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (open_.size() >= kDeepest) {
      throw InputError(where_ + ": nested more than " + std::to_string(kDeepest) + " deep");
    }
    if (open_.size() == 1) model_open_ = container.is_object() && key_ == "model";
    open_.push_back(put(std::move(container)));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    if (open_.size() < 2) model_open_ = false;
    return true;
  }

  const std::string& where_;
  TokenizerParts& parts_;
  std::vector<Json*> open_;  // from the root inwards; a container that is open does not move, its parent waits
  std::vector<std::set<std::string>> keys_;
  std::string key_, piece_;
  std::pair<std::string, std::string> pair_;
  size_t pair_items_ = 0;
  bool model_open_ = false, in_vocabulary_ = false, in_merges_ = false, in_pair_ = false;
};

bool is_wordpiece(const JsonPart& model) {
  // Older files leave the type out
  const std::string type = model.text_or_null("type").value_or("BPE");
  if (type == "BPE" || type == "WordPiece") return type == "WordPiece";
  throw UnsupportedError(model.where + ": type \"" + type + "\" is not supported; supported: BPE, WordPiece");
}

BpeOptions read_wordpiece_options(const JsonPart& model) {
  model.only_keys({"unk_token", "continuing_subword_prefix", "max_input_chars_per_word"});
  const std::string prefix = model.text_or_null("continuing_subword_prefix").value_or(kWordPiecePrefix);
  if (prefix != kWordPiecePrefix) {
    throw UnsupportedError(model.where + ": continuing_subword_prefix \"" + prefix + "\" is not supported; expected " +
                           kWordPiecePrefix);
  }
  return {.unk_token = model.text_or_null("unk_token").value_or("[UNK]")};
}

BpeOptions read_options(const JsonPart& model) {
  model.only_keys({"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                   "byte_fallback", "ignore_merges"});
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.text_or_null(key).value_or("").empty()) {
      throw UnsupportedError(model.where + ": " + key + " \"" + model.text(key) + "\" is not supported; expected none");
    }
  }
  const auto dropout = model.json.find("dropout");
  if (dropout != model.json.end() && !dropout->is_null() && !(dropout->is_number() && dropout->get<double>() == 0)) {
    throw UnsupportedError(model.where + ": dropout makes tokens random and is not supported; expected null");
  }
  BpeOptions options;
  options.unk_token = model.text_or_null("unk_token");
  options.fuse_unk = model.flag("fuse_unk", false);
  options.byte_fallback = model.flag("byte_fallback", false);
  options.ignore_merges = model.flag("ignore_merges", false);
  return options;
}

AddedToken read_added_token(const JsonPart& part) {
  if (!part.json.is_object()) throw InputError(part.where + ": expected an object with id and content");
  part.only_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = part.text("content");
  const auto id = part.json.find("id");
  if (id == part.json.end() || !id->is_number_integer()) {
    throw InputError(part.where + ": \"" + token.content + "\": expected an id");
  }
  token.id = id->is_number_unsigned() && id->get<uint64_t>() > static_cast<uint64_t>(kMostTokens) ? kMostTokens
                                                                                                  : id->get<int64_t>();
  token.single_word = part.flag("single_word", false);
  token.lstrip = part.flag("lstrip", false);
  token.rstrip = part.flag("rstrip", false);
  token.special = part.flag("special", false);
  token.normalized = part.flag("normalized", !token.special);
  return token;
}

nlohmann::ordered_json added_token_json(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

nlohmann::ordered_json bpe_json(const BpeOptions& options) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", options.unk_token ? Json(*options.unk_token) : Json(nullptr)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", options.fuse_unk},
          {"byte_fallback", options.byte_fallback},
          {"ignore_merges", options.ignore_merges}};
}

nlohmann::ordered_json wordpiece_json(const BpeOptions& options) {
  return {{"type", "WordPiece"},
          {"unk_token", options.unk_token.value_or("[UNK]")},
          {"continuing_subword_prefix", kWordPiecePrefix},
          {"max_input_chars_per_word", 100}};
}

}  // namespace

TokenizerParts read_tokenizer_json(std::string_view text, const std::string& where) {
  TokenizerParts parts;
  parts.where = where;
  Reader reader(where, parts);
  Json::sax_parse(text.begin(), text.end(), &reader);
  const JsonPart root{reader.root, where};
  if (!reader.root.is_object()) throw InputError(where + ": expected an object, as tokenizer.json is");
  root.only_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
                  "decoder", "model"});
  const auto version = root.text_or_null("version");
  if (version && *version != "1.0") {
    throw UnsupportedError(where + ": version \"" + *version + "\" is not known; known: 1.0");
  }
  const JsonPart model = root.part("model");
  if (!model.json.is_object()) throw InputError(model.where + ": expected an object");
  parts.wordpiece = is_wordpiece(model);
  if (!reader.has_vocabulary) throw InputError(model.where + ": vocab: expected {piece: id, ...}");
  if (!reader.has_merges && !parts.wordpiece) throw InputError(model.where + ": merges: expected a list of pairs");
  parts.options = parts.wordpiece ? read_wordpiece_options(model) : read_options(model);
  const auto added = reader.root.find("added_tokens");
  if (added != reader.root.end() && !added->is_null()) {
    const JsonPart list{*added, where + ": added_tokens"};
    const size_t count = list.items("a list");
    for (size_t i = 0; i < count; i++) parts.added.push_back(read_added_token(list.item(i)));
  }
  Json pipeline = Json::object();
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    const auto found = reader.root.find(key);
    pipeline[key] = found == reader.root.end() ? Json(nullptr) : *found;
  }
  parts.pipeline = std::make_shared<const Json>(std::move(pipeline));
  return parts;
}

std::string write_tokenizer_json(const TokenizerParts& parts) {
  nlohmann::ordered_json root;
  root["version"] = "1.0";
  root["truncation"] = nullptr;
  root["padding"] = nullptr;
  root["added_tokens"] = nlohmann::ordered_json::array();
  for (const AddedToken& token : parts.added) root["added_tokens"].push_back(added_token_json(token));
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"})
    root[key] = (*parts.pipeline)[key];
  root["model"] = parts.wordpiece ? wordpiece_json(parts.options) : bpe_json(parts.options);
  std::string text = root.dump(1);
  // The long lists are written as text: ordered_json looks each key up among all before it
  const auto quoted = [](const std::string& piece) { return Json(piece).dump(); };
  text.resize(text.rfind('}', text.rfind('}') - 1));  // open the root and the model again
  while (text.back() == '\n' || text.back() == ' ') text.pop_back();
  text += ",\n  \"vocab\": {";
  const char* separator = "\n   ";
  for (const auto& [piece, id] : parts.pieces) {
    text += separator + quoted(piece) + ": " + std::to_string(id);
    separator = ",\n   ";
  }
  if (parts.wordpiece) return text + "\n  }\n }\n}\n";
  text += "\n  },\n  \"merges\": [";
  separator = "\n   ";
  for (const auto& [left, right] : parts.merges) {
    text += separator + ("[" + quoted(left) + ", " + quoted(right) + "]");
    separator = ",\n   ";
  }
  return text + "\n  ]\n }\n}\n";
}

}  // namespace pare
