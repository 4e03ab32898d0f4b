// What every part of one run shares: the place for messages, the bounds on what a template may use up.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>

#include "pare/text/jinja/value.h"

namespace pare::jinja {

// A published template takes some hundred steps a message and makes each message's text a few times over. These stop
// one that was written to hang or to fill the memory.
struct Limits {
  uint64_t steps = 2'000'000;  // plus steps_a_value for each value in what is rendered
  uint64_t steps_a_value = 1000;
  uint64_t bytes = uint64_t{24} << 20;  // of all texts and lists that are made, plus bytes_a_byte * input
  uint64_t bytes_a_byte = 64;
  int depth = 400;        // of nested statements, expressions and macro calls while running
  int value_depth = 100;  // of containers in containers
};

class Context {
 public:
  Context(std::string where, const Limits& limits) : where_(std::move(where)), limits_(limits) {
    steps_left_ = limits.steps;
    bytes_left_ = limits.bytes;
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  int line = 0;         // of the template, where the run is
  std::time_t now = 0;  // for strftime_now
  void allow_input(uint64_t values, uint64_t bytes);

  // InputError: what Python would raise too. The template and these messages do not go together.
  [[noreturn]] void fail(const std::string& what) const;
  // The same without the line: raise_exception.
  [[noreturn]] void refuse(const std::string& words) const;
  // UnsupportedError: Python would go on, we do not know how.
  [[noreturn]] void unsupported(const std::string& what) const;
  [[noreturn]] void wants(const std::string& what, const std::string& wanted, const Value& found) const;

  void step(uint64_t count = 1) {
    if (count > steps_left_) out_of_steps();
    steps_left_ -= count;
  }
  // Before that many bytes are made.
  void bytes(uint64_t count) {
    if (count > bytes_left_) out_of_bytes();
    bytes_left_ -= count;
    step(count / 256);
  }

  Value text(std::string text);
  Value sequence(Kind kind, std::vector<Value> items, std::string shown = {});
  Value list(std::vector<Value> items) { return sequence(Kind::list, std::move(items)); }
  Value mapping(Mapping mapping);
  Value name_space(Namespace names);
  Value bounded(Value value) const;  // itself, or unsupported where it nests too deep

  class Deeper {
   public:
    explicit Deeper(Context& context) : context_(context) {
      if (++context_.depth_ > context_.limits_.depth) context_.too_deep();
    }
    ~Deeper() { context_.depth_--; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Context& context_;
  };

 private:
  [[noreturn]] void out_of_steps() const;
  [[noreturn]] void out_of_bytes() const;
  [[noreturn]] void too_deep();

  std::string where_;
  Limits limits_;
  uint64_t steps_left_ = 0, bytes_left_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace pare::jinja
