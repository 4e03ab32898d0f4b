#include "pare/pipeline/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "pare/base/error.h"

namespace pare {

namespace {

constexpr size_t kMostBytes = 1 << 20;
constexpr int kMostNodes = 100'000;
constexpr size_t kMostKeys = 1000;
constexpr size_t kMostDepth = 32;
constexpr size_t kShownCharacters = 60;

class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(std::string where) : where_(std::move(where)) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { put(mark, {}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "aliases (*name) are not supported; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    if (tag != "?" && tag != "!" && !tag.empty()) {
      fail(mark, "tags (" + tag.substr(0, kShownCharacters) + ") are not supported");
    }
    YamlNode node;
    node.kind = YamlNode::Kind::scalar;
    node.text = value;
    const bool quoted = tag == "!";
    if (!quoted && (value == "~" || value == "null")) node = {};
    put(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::sequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw UsageError(where_ + ": line " + std::to_string(mark.line + 1) + ": " + what);
  }

 private:
  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    if (!open_.empty() && open_.back().is_map() && expects_key()) fail(mark, "a key must be a word, not a list or map");
    if (open_.size() >= kMostDepth) fail(mark, "nested deeper than " + std::to_string(kMostDepth) + " levels");
    count(mark);
    open_.push_back(std::move(node));
  }

  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    attach(std::move(node));
  }

  void put(const YAML::Mark& mark, YamlNode node) {
    node.line = mark.line + 1;
    count(mark);
    if (!open_.empty() && open_.back().is_map() && expects_key()) {
      if (!node.is_scalar()) fail(mark, "a key must be a word");
      std::vector<YamlNode>& keys = open_.back().keys;
      if (keys.size() >= kMostKeys) fail(mark, "more than " + std::to_string(kMostKeys) + " keys in one map");
      for (const YamlNode& key : keys) {
        if (key.text != node.text) continue;
        fail(mark, node.describe() + " is there twice; the first is on line " + std::to_string(key.line));
      }
      keys.push_back(std::move(node));
      return;
    }
    attach(std::move(node));
  }

  bool expects_key() const { return open_.back().keys.size() == open_.back().items.size(); }

  void attach(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      open_.back().items.push_back(std::move(node));
    }
  }

  void count(const YAML::Mark& mark) {
    if (++nodes_ > kMostNodes) fail(mark, "more than " + std::to_string(kMostNodes) + " values");
  }

  std::string where_;
  YamlNode root_;
  std::vector<YamlNode> open_;
  int nodes_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const YamlNode& k) { return k.text == key; });
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

std::string YamlNode::describe() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::sequence:
      return "a list";
    case Kind::map:
      return "a map";
    case Kind::scalar:
      break;
  }
  return "\"" + (text.size() > kShownCharacters ? text.substr(0, kShownCharacters) + "..." : text) + "\"";
}

YamlNode parse_yaml(std::string_view text, const std::string& where) {
  if (text.size() > kMostBytes) {
    throw UsageError(where + ": " + std::to_string(text.size()) + " bytes; a recipe has at most 1 MB. Is it the file?");
  }
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    Builder builder(where);
    if (!parser.HandleNextDocument(builder)) return {};
    YamlNode root = builder.take();
    Builder second(where);
    if (parser.HandleNextDocument(second)) {
      throw UsageError(where + ": more than one document (---); give one recipe a file");
    }
    return root;
  } catch (const YAML::Exception& error) {
    throw UsageError(where + ": line " + std::to_string(error.mark.line + 1) + ": not YAML: " + error.msg);
  }
}

std::string yaml_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char kDigits[] = "0123456789abcdef";
      quoted += "\\x";
      quoted += kDigits[byte >> 4];
      quoted += kDigits[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace pare
