#include "pare/text/jinja/context.h"

#include "pare/base/error.h"

namespace pare::jinja {

// Namespaces may hold each other in a circle, or in a chain as long as the run. Emptied one by one, while all of them
// are still held here, none is freed from within another.
Context::~Context() {
  for (const auto& names : namespaces_) names->clear();
}

void Context::allow_input(uint64_t values, uint64_t bytes) {
  steps_left_ += values * limits_.steps_a_value;
  bytes_left_ += bytes * limits_.bytes_a_byte;
}

void Context::fail(const std::string& what) const {
  throw InputError(where_ + ": line " + std::to_string(line) + ": " + what);
}

void Context::refuse(const std::string& words) const {
  throw InputError(where_ + " refuses these messages: " + words);
}

void Context::unsupported(const std::string& what) const {
  throw UnsupportedError(where_ + ": line " + std::to_string(line) + ": " + what);
}

void Context::wants(const std::string& what, const std::string& wanted, const Value& found) const {
  if (found.is(Kind::undefined)) fail(what + ": " + found.what_is_undefined());
  fail(what + " wants " + wanted + ", found " + found.type_name());
}

void Context::out_of_steps() const {
  unsupported("the template takes more steps than any that is meant well. Is it damaged?");
}

void Context::out_of_bytes() const {
  unsupported("the template makes more text than any that is meant well. Is it damaged?");
}

void Context::too_deep() {
  depth_--;  // Deeper's destructor does not run for it
  unsupported("statements, expressions and macro calls are nested more than " + std::to_string(limits_.depth) +
              " deep");
}

Value Context::bounded(Value value) const {
  if (value.depth() > limits_.value_depth) {
    unsupported("lists nested more than " + std::to_string(limits_.value_depth) + " deep");
  }
  return value;
}

Value Context::text(std::string text) {
  bytes(text.size() + 64);
  return Value::raw_text(std::move(text));
}

Value Context::sequence(Kind kind, std::vector<Value> items, std::string shown) {
  bytes(items.size() * sizeof(Value) + 64);
  return bounded(Value::raw_sequence(kind, {std::move(items), std::move(shown)}));
}

Value Context::mapping(Mapping mapping) {
  bytes(mapping.items.size() * 2 * sizeof(Value) + 64);
  return bounded(Value::raw_mapping(std::move(mapping)));
}

Value Context::name_space(Namespace names) {
  bytes(256 + 128 * names.size());
  namespaces_.push_back(std::make_shared<Namespace>(std::move(names)));
  return Value::name_space(namespaces_.back());
}

}  // namespace pare::jinja
