#!/usr/bin/env python3
"""Writes each format that Pare has, loads it with software that nobody here wrote, and compares.

    python tests/peers/load_outputs.py --pare ./pare --model MODEL.gguf --work build/peers [--text FILE --lines 2501-3760] [--llama-cpp FOLDER]
            [--only REGEX]

A row: tensors bit by bit, tokens, logits of ten prompts, perplexity, greedy text; against Pare's own dense f32
(`pare convert --format hf --dtype f32`) and `pare eval`. Without --text the repository's pages are the text, and the row of
the base model's perplexity on that FILE is skipped, which is said. --llama-cpp: the folder of llama.cpp's programs (build/bin), for the rows
in which it loads ours and Pare loads its. Exit 1 when a row failed.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # GPTQModel compiles its linears otherwise: half a minute a model
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # aqlm's kernel adds to the same sums from several threads, and loses some
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where others work too, threads that wait by spinning cost ten times the time

import torch
import transformers

import checks
import llama_cpp
import readers
import theirs
from variants import VARIANTS

WINDOWS = {"tiny": (64, 1024), "wide": (64, 1024), "real": (512, 1024)}  # of the perplexity: tokens a window, tokens
# What Pare's warnings say of folders that current libraries refuse.
BITMASKS_DROPPED = "fills these layers with random values"
ASYMMETRIC_REFUSED = "refuses every asymmetric pack-quantized folder"


class Bench:
    def __init__(self, args):
        self.pare, self.work = str(pathlib.Path(args.pare).resolve()), pathlib.Path(args.work).resolve()
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        os.environ["PARE_CACHE"] = str(self.work / "cache")
        make_model = pathlib.Path(self.pare).resolve().parent / "make_model"
        subprocess.run([make_model, self.work / "tiny"], check=True)
        subprocess.run([make_model, self.work / "wide", "--hidden", "256", "--intermediate", "512", "--layers", "2"], check=True)
        self.models = {"tiny": self.work / "tiny", "wide": self.work / "wide", "real": pathlib.Path(args.model).resolve()}
        root = pathlib.Path(__file__).resolve().parents[2]
        pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
        self.text = self.work / "text.txt"
        self.text.write_text("\n".join(page.read_text() for page in pages))

    def run(self, *words):
        result = subprocess.run([self.pare, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        checks.require(result.returncode == 0, f"pare {' '.join(map(str, words))}: exit {result.returncode}\n{result.stderr}")
        return result.stdout

    def dense(self, model, name):
        out = self.work / name
        self.run("convert", model, "-o", out, "--format", "hf", "--dequantize", "--dtype", "f32")
        return out

    def write(self, variant):
        out = self.work / "out"
        if variant.convert:
            self.run("convert", self.models[variant.model], "-o", out, *variant.options)
        else:
            options = list(variant.options)
            if variant.recipe:
                (self.work / "recipe.yaml").write_text(variant.recipe)
                options += ["--recipe", self.work / "recipe.yaml"]
            self.run("compress", self.models[variant.model], "-o", out, *options, "--calib", self.text,
                     "--samples", 8, "--length", 64, "--eval-tokens", 0)
        return out

    def eval(self, out, text, length, tokens):
        file = readers.gguf_file(out) if out.is_dir() else None
        figures = json.loads(self.run("eval", out / file if file else out, "--text", text, "--length", length, "--tokens", tokens, "--json"))
        return figures["perplexity"]

    def same_tokens(self, out, tokenizer):
        file = readers.gguf_file(out)
        for prompt in checks.PROMPTS:
            ours = list(map(int, self.run("tokenize", out / file if file else out, "--plain", "--text", prompt).split()))
            theirs = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            checks.require(ours == theirs, f"{prompt!r} is {theirs} to the peer's tokenizer, {ours} to Pare's")


def compare(bench, variant):
    """(result, the cells of the row as far as it got)."""
    cells = {}
    torch.set_num_threads(1 if variant.model != "real" else int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    for name in ("out", "out.journal", "dense"):
        shutil.rmtree(bench.work / name, ignore_errors=True)
    try:
        out = bench.write(variant)
        dense = bench.dense(out / readers.gguf_file(out) if readers.gguf_file(out) else out, "dense")
        reference = readers.load(dense)
        expected, _ = readers.weights(reference)
        if variant.zeros:
            checks.zeros(expected, variant.zeros)
        who, second = readers.independent_weights(out, variant, reference.config)
        if second:
            cells["tensors"] = f"{checks.tensors(second, expected)} by {who}"
        if variant.reader == "gguf":
            checks.complete(second, expected)
            checks.metadata(readers.gguf_metadata(out), reference.config)
        if variant.reader == "none":
            return without_reader(out, expected, cells)
        if variant.reader == "decompress":
            return refused_or_loaded(bench, variant, out, dense, second, reference, expected, cells)
        if variant.reader.startswith("gptqmodel") and not readers.has_gptqmodel():
            return "SKIPPED", {**cells, "note": "gptqmodel or optimum is not installed: tensors only"}
        compare_loaded(bench, variant, out, readers.load(out, variant.reader), dense, reference, expected, cells)
    except Exception as error:
        return "FAILED", {**cells, "note": f"{type(error).__name__}: {error}"}
    return "ok", cells


def compare_loaded(bench, variant, out, model, dense, reference, expected, cells):
    f16 = model.dtype == torch.float16
    same_type = readers.load(dense, dtype=torch.float16) if f16 else reference  # then rounding is no excuse
    tokenizer = readers.load_tokenizer(out)
    bench.same_tokens(out, tokenizer)
    ids = tokenizer(bench.text.read_text(), add_special_tokens=False)["input_ids"]
    model(torch.tensor([ids[:8]]))  # compressed-tensors decompresses at the first call
    plain, rounded = readers.weights(model)
    checks.complete(plain | rounded, expected)
    count = checks.tensors(plain, expected, rounded_to=model.dtype)
    by = [cells.get("tensors")] + ([] if variant.reader == "decompress" else [f"{count} by {variant.reader}"])
    if rounded:
        how, word = (torch.float16, "f16") if variant.reader.startswith("gptqmodel") else (model.dtype, variant.reader + "'s modules")
        by.append(f"{checks.tensors(rounded, expected, rounded_to=how)} as {word}")
    cells["tensors"] = ", ".join(filter(None, by))
    computed = "f16" if f16 else "f32"
    cells["logits"] = f"{checks.logits(model, same_type, tokenizer, computed):.1e}{' f16' if f16 else ''}"
    length, tokens = WINDOWS[variant.model]
    ours = bench.eval(out, bench.text, length, tokens)
    off = checks.same_perplexity(ours, checks.perplexity(model, ids[:tokens], length), computed)
    cells["perplexity"] = f"{ours:.6g} {100 * off:.4f} %"
    if f16:  # with the same weights in f32 the figure is Pare's
        checks.same_perplexity(ours, checks.perplexity(reference, ids[:tokens], length), "f32")
    quick = not f16 and variant.model != "real"  # GPTQModel dequantizes anew for each token
    prompts = checks.PROMPTS if quick else checks.PROMPTS[:3]
    cells["text"] = checks.text(model, same_type, tokenizer, prompts, computed)
    if variant.reader == "transformers":  # the type that the config names, which is what most people load
        auto = readers.load(out, dtype="auto")
        checks.require(torch.isfinite(auto(torch.tensor([ids[:64]])).logits).all().item(), f"dtype=\"auto\" ({auto.dtype}): not finite")
        cells["note"] = f"dtype auto: {str(auto.dtype).removeprefix('torch.')}"


def refused_or_loaded(bench, variant, out, dense, second, reference, expected, cells):
    """From transformers if it loads; or what compressed-tensors' decompressor made, in a dense model of transformers."""
    try:
        model, result = readers.load(out), "ok"
    except RuntimeError as error:
        checks.require("ignore_mismatched_sizes" in str(error), f"transformers refuses for another reason: {error}")
        require_warning(out, ASYMMETRIC_REFUSED)
        model, result = readers.load(dense), "PARTIAL"
        with torch.no_grad():
            for name, tensor in second.items():
                model.get_parameter(name).copy_(tensor)
    compare_loaded(bench, dataclasses.replace(variant, reader="transformers" if result == "ok" else "decompress"), out, model,
                   dense, reference, expected, cells)
    if result == "PARTIAL":
        cells["note"] = "transformers refuses, as it does compressed-tensors' own; warned of. Logits: transformers on the decompressed"
    return result, cells


def require_warning(out, words):
    warnings = json.loads((out / "report.json").read_text())["warnings"]
    checks.require(any(words in warning for warning in warnings), f"no warning in report.json says \"{words}\"")


def without_reader(out, expected, cells):
    require_warning(out, BITMASKS_DROPPED)
    try:
        wrong = sum(not torch.equal(tensor, expected.get(name, tensor)) for name, tensor in readers.weights(readers.load(out))[0].items())
        checks.require(wrong, "transformers loads it, which the warning denies")
        outcome = f"transformers fills {wrong} layers with random numbers"
    except (ImportError, KeyError, RuntimeError, ValueError) as error:
        outcome = f"transformers refuses: {type(error).__name__}: {' '.join(str(error).split())[:80]}"
    return "PARTIAL", {**cells, "note": f"SKIPPED beyond tensors: no current reader, warned of; {outcome}"}


def base_perplexity(bench, name, text, lines, length, tokens):
    """The real model as it came, both on the same dense weights."""
    try:
        dense = bench.work / "base"
        if not dense.exists():
            bench.dense(bench.models["real"], "base")
        first, last = map(int, lines.split("-"))
        with open(text, encoding="utf-8", newline="") as file:
            part = "".join(line for number, line in enumerate(file, 1) if first <= number <= last)
        cut = bench.work / "base.txt"
        cut.write_text(part, newline="")
        ids = readers.load_tokenizer(dense)(part, add_special_tokens=False)["input_ids"][:tokens]
        ours = bench.eval(dense, cut, length, tokens)
        from_gguf = bench.eval(bench.models["real"], cut, length, tokens)
        checks.require(ours == from_gguf, f"perplexity of the GGUF is {from_gguf:.9g}, of its dense f32 {ours:.9g}")
        theirs = checks.perplexity(readers.load(dense), ids, length)
        off = checks.same_perplexity(ours, theirs, "f32")
        return "ok", {"perplexity": f"{ours:.6g} {100 * off:.4f} %", "note": f"transformers: {theirs:.8g}, pare: {ours:.8g}; {len(ids)} tokens, windows of {length}"}
    except Exception as error:
        return "FAILED", {"note": f"{type(error).__name__}: {error}"}


def attempt(work):
    try:
        return "ok", work()
    except Exception as error:
        return "FAILED", {"note": f"{type(error).__name__}: {error}"}


def llama_cpp_rows(bench, folder):
    if folder is None:
        return [("llama.cpp itself", lambda: ("SKIPPED", {"note": "no --llama-cpp FOLDER (make test-peers LLAMA_CPP_BIN=FOLDER)"}))]
    peer = llama_cpp.LlamaCpp(bench, folder)
    return [(name, lambda work=work: attempt(work)) for name, work in peer.rows()]


COLUMNS = [("row", 32), ("tensors", 50), ("logits", 11), ("perplexity", 18), ("text", 6), ("s", 4), ("result", 8), ("note", 0)]


def show(table, row, result, cells, seconds):
    cells = {"row": row, "result": result, "s": f"{seconds:.0f}", **cells}
    print(" ".join(cells.get(name, "").ljust(width) for name, width in COLUMNS).rstrip(), file=table, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pare", required=True)
    parser.add_argument("--model", required=True, help="a real model, GGUF")
    parser.add_argument("--work", required=True, help="folder to make anew")
    parser.add_argument("--text", help="for the perplexity of the real model")
    parser.add_argument("--lines", default="2501-3760", help="of --text")
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="folder that holds llama-perplexity, llama-quantize, llama-imatrix and llama-completion")
    parser.add_argument("--only", default="", help="rows whose name has this in it, a regular expression")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    table = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # GPTQModel writes its log where the table goes
    bench = Bench(args)
    print(readers.versions(), file=table)
    print("tensors: how many are equal bit by bit (as f16: to Pare's values rounded to f16, the type that peer dequantizes in). logits: largest "
          "difference over the largest logit; f16: to transformers in f16 on Pare's dense weights, in which GPTQModel computes.\nperplexity: pare eval's, and how far the peer's is from it. text: 20 greedy tokens, of ten prompts or three.\n", file=table)
    print(" ".join(name.ljust(width) for name, width in COLUMNS), file=table, flush=True)

    rows = [(str(variant), lambda v=variant: compare(bench, v)) for variant in VARIANTS]
    rows.append(("real base, these pages", lambda: base_perplexity(bench, "pages", bench.text, "1-1000000", 1024, 2048)))
    given = f"real base, {pathlib.Path(args.text).name} {args.lines}" if args.text else "real base, given text"
    rows.append((given, lambda: base_perplexity(bench, "text", args.text, args.lines, 2048, 16384) if args.text
                 else ("SKIPPED", {"note": "no --text FILE (make test-peers TEXT=FILE)"})))
    rows += [(name, lambda work=work: attempt(work)) for name, work in theirs.rows(bench)]
    rows += llama_cpp_rows(bench, args.llama_cpp)
    results = []
    for name, work in rows:
        if not re.search(args.only, name):
            continue
        begin = time.monotonic()
        result, cells = work()
        show(table, name, result, cells, time.monotonic() - begin)
        results.append(result)
    print(f"\n{results.count('ok')} ok, {results.count('PARTIAL')} partial, {results.count('SKIPPED')} skipped, {results.count('FAILED')} failed", file=table, flush=True)
    return 1 if "FAILED" in results or not results else 0


if __name__ == "__main__":
    sys.exit(main())
