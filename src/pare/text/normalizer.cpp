#include "pare/text/normalizer.h"

#include <nlohmann/json.hpp>

#include "pare/text/byte_level.h"

namespace pare {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Normalizer::Normalizer(const JsonPart& part) {
  if (part.json.is_null()) return;
  for_each_step(part, "normalizers", [&](const JsonPart& step) { steps_.push_back(read_step(step)); });
}

Normalizer::Step Normalizer::read_step(const JsonPart& part) {
  const std::string type = part.type();
  if (type == "Prepend") {
    part.only_keys({"prepend"});
    return Prepend{part.text("prepend")};
  }
  if (type == "Replace") return Replace(part);
  if (type == "Strip") {
    part.only_keys({"strip_left", "strip_right"});
    return Strip{part.flag("strip_left"), part.flag("strip_right")};
  }
  part.only_keys({});
  if (type == "NFC") return UnicodeForm::nfc;
  if (type == "NFD") return UnicodeForm::nfd;
  if (type == "NFKC") return UnicodeForm::nfkc;
  if (type == "NFKD") return UnicodeForm::nfkd;
  if (type == "Lowercase") return Lowercase{};
  if (type == "ByteLevel") return ByteLevel{};
  part.unknown_type("Sequence, Prepend, Replace, Strip, NFC, NFD, NFKC, NFKD, Lowercase, ByteLevel");
}

std::string Normalizer::apply(std::string text, bool& from_start) const {
  for (const Step& step : steps_) {
    std::visit(Overloaded{
                   [&](const Prepend& prepend) {
                     if (!text.empty()) text.insert(0, prepend.text);
                   },
                   [&](const Replace& replace) {
                     bool start_gone = false;
                     text = replace.apply(text, &start_gone);
                     if (start_gone) from_start = false;
                   },
                   [&](UnicodeForm form) { text = normalize_unicode(text, form); },
                   [&](Lowercase) { text = lowercase(text); },
                   [&](Strip strip) {
                     if (strip.right) text.resize(text.size() - trailing_white_space(text));
                     const size_t left = strip.left ? leading_white_space(text) : 0;
                     if (left > 0) from_start = false;
                     text.erase(0, left);
                   },
                   [&](ByteLevel) {
                     std::string result;
                     result.reserve(text.size() + text.size() / 2);
                     append_byte_level(result, text);
                     text = std::move(result);
                   },
               },
               step);
  }
  return text;
}

}  // namespace pare
