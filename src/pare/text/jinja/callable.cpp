#include "pare/text/jinja/callable.h"

#include "pare/text/jinja/context.h"

namespace pare::jinja {

Bound::Bound(Context& context, std::string_view name, const Arguments& arguments,
             std::initializer_list<const char*> parameters, size_t required)
    : context_(context), name_(name), parameters_(parameters), values_(parameters.size(), nullptr) {
  if (arguments.positional.size() > parameters_.size()) {
    context.fail(name_ + " takes at most " + std::to_string(parameters_.size()) + " arguments, found " +
                 std::to_string(arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); i++) values_[i] = &arguments.positional[i];
  for (const auto& [key, value] : arguments.named) {
    size_t i = 0;
    while (i < parameters_.size() && key != parameters_[i]) i++;
    if (i == parameters_.size()) context.fail(name_ + " has no argument '" + key + "'");
    if (values_[i] != nullptr) context.fail(name_ + ": argument '" + key + "' is given twice");
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; i++) {
    if (values_[i] == nullptr) context.fail(name_ + " wants an argument '" + parameters_[i] + "'");
  }
}

int64_t Bound::whole(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if (!values_[i]->is_whole()) context_.wants(name_ + ": " + parameters_[i], "an integer", *values_[i]);
  return values_[i]->whole();
}

bool Bound::flag(size_t i, bool otherwise) const {
  return has(i) ? truth(context_, *values_[i]) : otherwise;
}

std::string_view Bound::text(size_t i, std::string_view otherwise) const {
  if (!has(i)) return otherwise;
  if (!values_[i]->is(Kind::text)) context_.wants(name_ + ": " + parameters_[i], "a text", *values_[i]);
  return values_[i]->text();
}

}  // namespace pare::jinja
