#!/usr/bin/env python3
"""Compares Pare's tokenizers with PyPI `tokenizers`, id by id, and the texts that both decode.

    pip install tokenizers==0.23.3
    tokenizer_families.py FAMILIES
    compare_tokenizers.py --pare ./pare --lines 100000 [--text FILE] [--seed 1] FAMILIES/*.json MODEL.gguf ...

A .gguf file is compared with what `tokenizers` makes of the tokenizer.json that `pare tokenize --dump` writes for it.
Exit code 1 on any difference, with a line that repeats the first one.
"""
import argparse
import json
import os
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

SCRIPTS = [(0x20, 0x7F), (0xA0, 0x180), (0x180, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x600),
           (0x600, 0x700), (0x900, 0x980), (0x980, 0xA00), (0xB80, 0xC00), (0xE00, 0xE80), (0x1000, 0x10A0), (0x1100, 0x1200),
           (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x20D0), (0x2100, 0x2190), (0x2190, 0x2400), (0x2460, 0x2500),
           (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFB00, 0xFDFF), (0xFE00, 0x10000),
           (0x1D400, 0x1D800), (0x1F300, 0x1F700), (0x1F900, 0x1FA00), (0x20000, 0x20100)]
SPACES = [" ", " ", " ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\xa0", "\u1680", "\u180e",
          "\u2000", "\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\u200d", "\ufeff", "\u2581"]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "☺", "🤦🏼‍♂️", "\U0001F600"]
CODE = ["def f(x):\n\treturn x+1", "int main(int argc, char** argv) { return 0; }", "for (auto&& [k, v] : map) ++n[k];",
        "SELECT * FROM t WHERE a<=10;", "x = {'a': [1,2,3], \"b\": None}", "#include <vector>", "    if not x:\n        pass\n",
        "https://a.b/c?d=e&f=%20g#h", "0x1F 1e-10 3.14159 1,000,000 v2.0.1", "// comment\n/* block */", "</div><br/>\n", "\\n\\t\\\\"]
CONTRACTIONS = ["I'm", "don't", "WE'LL", "they've", "'S", "y'all'd've", "\u017f", "it'\u017f", "\u212a", "'\u2019t", "''", "'re've"]
COMBINING = ["e\u0301", "\u1e9b\u0323", "q\u0323\u0307", "\u0344", "\u1100\u1161\u11a8", "\uac00\u11a8", "A\u030a", "\u212b", "\ufb01",
             "\u00bd", "\u0130", "\u0149", "\u2126", "\u0958", "\u0f73", "\U0001d15e", "a\u0345\u0301", "\u0041\u0328\u0301"]


class Lines:
    def __init__(self, seed, specials, text):
        self.rng = random.Random(seed)
        self.specials = specials
        self.words = [w for w in text.split() if w][:20000] or ["the", "of"]
        self.next_code = 0

    def piece(self):
        r = self.rng
        kind = r.randrange(14)
        if kind <= 3:
            return r.choice(["", " ", " ", " "]).join(r.choice(self.words) for _ in range(r.randint(1, 6)))
        if kind == 4:
            first, last = r.choice(SCRIPTS)
            return "".join(chr(r.randrange(first, last)) for _ in range(r.randint(1, 12)))
        if kind == 5:
            return "".join(r.choice(SPACES) for _ in range(r.randint(1, 8)))
        if kind == 6:
            return r.choice(EMOJI)
        if kind == 7:
            return r.choice(CODE)
        if kind == 8:
            return r.choice(CONTRACTIONS)
        if kind == 9:
            return str(r.randrange(10 ** r.randint(1, 12)))
        if kind == 10:
            return bytes(r.randrange(256) for _ in range(r.randint(1, 16))).decode(errors="replace")
        if kind == 11 and self.specials:
            token = r.choice(self.specials)
            cut = r.randrange(len(token) + 1)
            return r.choice([token, token, token + token, " " + token + "  ", token[:cut], token[cut:], token.upper()])
        if kind == 12:
            return r.choice(COMBINING)
        return r.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") * r.randint(1, 5)

    def every_code(self):
        """Code points in order, so that some line has each of them."""
        codes = []
        while len(codes) < 24:
            self.next_code = (self.next_code + 1) % 0x110000
            if not 0xD800 <= self.next_code < 0xE000 and not 0x32500 < self.next_code < 0xE0000:
                codes.append(self.next_code)
        return "".join(chr(c) + self.rng.choice(["", "", " ", "a"]) for c in codes)

    def make(self, count):
        for i in range(count):
            if i % 8 == 7:
                yield self.every_code()
            elif i % 1000 == 1:
                yield self.piece() * self.rng.randint(50, 400)  # long words
            else:
                yield "".join(self.piece() for _ in range(self.rng.randint(1, 6)))


def ask(pare, model, lines, *flags):
    """One answer for each line. The program is fed from a file: a pipe would need a thread."""
    with tempfile.TemporaryFile("w+") as source:
        for line in lines:
            source.write(json.dumps(line) + "\n")
        source.seek(0)
        done = subprocess.run([pare, "tokenize", model, "--json", *flags], stdin=source, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{model}: pare ended with exit code {done.returncode}")
    answers = [json.loads(a) for a in done.stdout.split("\n")[:-1]]
    if len(answers) != len(lines):
        raise SystemExit(f"{model}: {len(answers)} answers for {len(lines)} lines")
    return answers


def shortest(differs, line):
    """Drops characters while the difference stays."""
    step = max(1, len(line) // 2)
    while step:
        i = 0
        while i < len(line):
            shorter = line[:i] + line[i + step:]
            if differs(shorter):
                line = shorter
            else:
                i += step
        step //= 2
    return line


def report(pare, model, flags, what, given, ours, theirs):
    command = shlex.join([pare, "tokenize", model, "--json", *flags])
    print(f"{model}: {what} differ.\n  given  {json.dumps(given)}\n  ours   {json.dumps(ours)}\n  theirs {json.dumps(theirs)}")
    print(f"  repeat: echo {shlex.quote(json.dumps(given))} | {command}")


def compare(pare, model, args):
    if str(model).endswith(".gguf"):
        dumped = subprocess.run([pare, "tokenize", model, "--dump"], stdout=subprocess.PIPE, check=True, text=True).stdout
        theirs = Tokenizer.from_str(dumped)
    else:
        theirs = Tokenizer.from_file(model)
    theirs.no_truncation()
    theirs.no_padding()
    added = theirs.get_added_tokens_decoder()
    specials = [t.content for t in added.values()]
    lines = list(Lines(args.seed, specials, args.sample).make(args.lines))
    failures = 0
    for plain in (False, True):
        flags = ["--plain"] if plain else []
        some = lines if not plain else lines[: len(lines) // 10]
        expected = [e.ids for e in theirs.encode_batch_fast(some, add_special_tokens=not plain)]
        wrong = [i for i, ids in enumerate(ask(pare, model, some, *flags)) if ids != expected[i]]
        failures += len(wrong)
        if wrong:
            def differs(text):
                return ask(pare, model, [text], *flags)[0] != theirs.encode(text, add_special_tokens=not plain).ids
            short = shortest(differs, some[wrong[0]])
            report(pare, model, flags, f"ids of {len(wrong)} of {len(some)} lines", short, ask(pare, model, [short], *flags)[0],
                   theirs.encode(short, add_special_tokens=not plain).ids)
        # Decoding: what was encoded, and ids in no order
        rng = random.Random(args.seed)
        size = theirs.get_vocab_size()
        ids = expected[: max(1, len(some) // 4)]
        ids += [[rng.randrange(size) for _ in range(rng.randint(0, 20))] for _ in range(len(some) // 4)]
        texts = theirs.decode_batch(ids, skip_special_tokens=plain)
        answers = ask(pare, model, ids, "--decode", *flags)
        wrong = [i for i, text in enumerate(answers) if text != texts[i]]
        failures += len(wrong)
        if wrong:
            i = wrong[0]
            report(pare, model, ["--decode", *flags], f"texts of {len(wrong)} of {len(ids)} lists of ids", ids[i], answers[i], texts[i])
    print(f"{model}: {len(lines)} lines, {failures} differences", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pare", default="./pare")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=pathlib.Path, help="take words from this file")
    args = parser.parse_args()
    args.sample = args.text.read_text() if args.text else " ".join(CODE + CONTRACTIONS)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return 1 if sum([compare(args.pare, model, args) for model in args.models]) else 0


if __name__ == "__main__":
    sys.exit(main())
