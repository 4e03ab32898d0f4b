#!/usr/bin/env python3
"""Makes src/pare/text/unicode_tables.h: where the Unicode tables of PyPI `tokenizers` differ from PCRE2's and utf8proc's.

    pip install tokenizers==0.23.3
    unicode_tables.py > src/pare/text/unicode_tables.h && clang-format -i src/pare/text/unicode_tables.h

PCRE2 10.42 and utf8proc 2.8 are loaded through ctypes. Categories in which PCRE2 has a character that the reference has
not (its category changed since) cannot be written as an addition; they are left out and patterns with them are refused.
"""
import ctypes
import sys

from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "L Lu Ll Lt Lm Lo M Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp".split()
WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"


def pcre_class(pattern):
    lib = ctypes.CDLL("libpcre2-8.so.0")
    lib.pcre2_compile_8.restype = ctypes.c_void_p
    lib.pcre2_match_data_create_8.restype = ctypes.c_void_p
    error, offset = ctypes.c_int(), ctypes.c_size_t()
    utf, ucp, anchored = 0x00080000, 0x00020000, 0x80000000
    code = lib.pcre2_compile_8(pattern.encode(), ctypes.c_size_t(len(pattern)), ctypes.c_uint32(utf | ucp | anchored),
                               ctypes.byref(error), ctypes.byref(offset), None)
    assert code, f"{pattern}: PCRE2 error {error.value}"
    data = ctypes.c_void_p(lib.pcre2_match_data_create_8(4, None))
    found = set()
    for c in CODES:
        text = chr(c).encode()
        if lib.pcre2_match_8(ctypes.c_void_p(code), text, ctypes.c_size_t(len(text)), ctypes.c_size_t(0), 0, data, None) > 0:
            found.add(c)
    return found


def reference_class(splitter):
    """Code points that `splitter` removes from a text of all of them."""
    kept = set()
    for text, _ in splitter.pre_tokenize_str("".join(map(chr, CODES))):
        kept.update(map(ord, text))
    return set(CODES) - kept


def reference_words():
    # Whitespace keeps \w+ and [^\w\s]+ apart: `x` joins the former only
    whitespace, found = pre_tokenizers.Whitespace(), set()
    for c in CODES:
        if [t for t, _ in whitespace.pre_tokenize_str("x" + chr(c))] == ["x" + chr(c)]:
            found.add(c)
    return found


def reference_numeric():
    return {ord(t) for t, _ in pre_tokenizers.Digits(True).pre_tokenize_str("x".join(map(chr, CODES))) if t != "x" and
            len(t) == 1 and [u for u, _ in pre_tokenizers.Digits(True).pre_tokenize_str("x" + t + "x")] == ["x", t, "x"]}


class Utf8proc:
    STABLE, COMPAT, COMPOSE, DECOMPOSE = 1 << 1, 1 << 2, 1 << 3, 1 << 4

    def __init__(self):
        self.lib = ctypes.CDLL("libutf8proc.so.2")
        self.lib.utf8proc_map.restype = ctypes.c_ssize_t

    def __call__(self, text, options):
        data, result = text.encode(), ctypes.c_char_p()
        length = self.lib.utf8proc_map(data, ctypes.c_ssize_t(len(data)), ctypes.byref(result), options | self.STABLE)
        assert length >= 0
        return ctypes.string_at(result, length).decode()


def not_normalized():
    ours, found = Utf8proc(), set()
    forms = [(normalizers.NFC(), ours.COMPOSE), (normalizers.NFKC(), ours.COMPOSE | ours.COMPAT),
             (normalizers.NFD(), ours.DECOMPOSE), (normalizers.NFKD(), ours.DECOMPOSE | ours.COMPAT)]
    for c in CODES:
        # alone, and behind a mark of the highest combining class below its own: reordered when its class is not 0
        for text in (chr(c), "a\u0345" + chr(c)):
            if any(form.normalize_str(text) != ours(text, options) for form, options in forms):
                found.add(c)
    # what composes to such a character must not be composed: its second half takes no part either
    for c in list(found):
        parts = ours(chr(c), ours.DECOMPOSE)
        if len(parts) > 1:
            found.add(ord(parts[-1]))
    return found


def lower_case():
    """(code, lower) where char::to_lowercase gives another character than utf8proc."""
    lib, rust = ctypes.CDLL("libutf8proc.so.2"), normalizers.Lowercase()
    for c in CODES:
        lower = rust.normalize_str(chr(c))
        if len(lower) == 1 and ord(lower) != lib.utf8proc_tolower(c):
            yield c, ord(lower)
        assert len(lower) == 1 or c == 0x130, hex(c)


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def class_text(codes):
    return "".join(f"\\x{{{a:x}}}" if a == b else f"\\x{{{a:x}}}-\\x{{{b:x}}}" for a, b in ranges(codes))


def literal(text, width=100):
    parts = [text[i:i + width] for i in range(0, len(text), width)] or [""]
    return "\n     ".join(f'R"({p})"' for p in parts)


def row(name, base, wanted):
    have = pcre_class(f"[{base}]")
    assert not have - wanted, f"{name}: PCRE2 has more: {ranges(have - wanted)}"
    return f'    {{"{name}",\n     R"({base})"\n     {literal(class_text(wanted - have))}}},'


def main():
    removed = lambda pattern: reference_class(pre_tokenizers.Split(Regex(pattern), "removed"))
    print("""// Generated by tests/oracles/unicode_tables.py; do not edit.
//
// Where the Unicode tables of the reference (PyPI tokenizers 0.23.3) differ from those of PCRE2 10.42 and utf8proc 2.8:
// characters newer than Unicode 14, and a few habits of Oniguruma.
#pragma once

namespace pare {

struct CharacterClass {
  const char* name;
  const char* content;  // what stands between the brackets of a PCRE2 class
};

// \\s, \\w, \\d and \\p{name} of Oniguruma.
inline constexpr CharacterClass kOnigurumaClasses[] = {""")
    print(row("s", r"\p{White_Space}", removed(r"\s")))
    print(row("w", WORD, removed(r"\w")))
    print(row("d", r"\p{Nd}", removed(r"\d")))
    print(row("Han", r"\p{sc:Han}", removed(r"\p{Han}")))
    for category in CATEGORIES:
        print(row(category, rf"\p{{{category}}}", removed(rf"\p{{{category}}}")))
    print("};\n\n// \\w and char::is_numeric of Rust.\ninline constexpr CharacterClass kRustClasses[] = {")
    print(row("w", WORD, reference_words()))
    print(row("numeric", r"\p{N}", reference_numeric()))
    print("""};

struct CodeRange {
  char32_t first, last;
};
// What utf8proc decomposes or reorders and the reference, with older tables, leaves alone.
inline constexpr CodeRange kNotNormalized[] = {""")
    for a, b in ranges(not_normalized()):
        print(f"    {{0x{a:X}, 0x{b:X}}},")
    print("""};

struct LowerCase {
  char32_t code, lower;
};
// Letters whose lower case utf8proc does not know.
inline constexpr LowerCase kLowerCase[] = {""")
    for code, lower in lower_case():
        print(f"    {{0x{code:X}, 0x{lower:X}}},")
    print("};\n\n}  // namespace pare")


if __name__ == "__main__":
    sys.exit(main())
