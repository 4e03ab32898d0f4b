#!/usr/bin/env python3
"""GGUF files by Pare beside llama.cpp's: same F16 base, same calibration text, llama-perplexity as the judge of both.

    python3 bench/gguf_vs_llama_cpp/run.py --llama-cpp BINARIES --model F16.gguf|HF_FOLDER --text WIKITEXT_VALID --work FOLDER --json FILE
            [--types Q4_K_M,Q3_K_M,...] [--pare PATH] [--markdown FILE] [--plot FILE.svg] [--calib-lines 1-2200] [--samples 64] [--length 512]
            [--judge-lines 2400-3760] [--judge-length 2048] [--judge-chunks 6] [--threads 2] [--rounds 3] [--only SERIES,...] [--again] [--keep]

BINARIES: a folder that holds llama-imatrix, llama-quantize and llama-perplexity. HF_FOLDER becomes an F16 file once, by `pare convert`.
A row for each type and each of

    llama.cpp            llama-quantize
    llama.cpp+imatrix    llama-quantize --imatrix; the matrix is made once, of --samples chunks of --length tokens of the calibration text
    pare                 pare compress --type, --samples windows of --length tokens of the same text
    pare --size          pare compress --size at the bytes of llama.cpp's file with its matrix (without, where there is none)
    pare convert         pare convert --type: plain rounding, no text

and in it: bytes of the file, perplexity and mean KL divergence from the base's logits as llama-perplexity has them (windows of --judge-length,
second halves counted, as it does), share of tokens with the same first choice, and seconds of the whole quantizing process: the median of --rounds
for llama-quantize and `pare convert`; one run for `pare compress`, its calibration included, which llama.cpp's rows are without (`imatrix_seconds`,
once). A row whose program cannot make it says why in its own words, and is tried again by the next run.

A row whose figures FILE already holds is not made again, unless --again; FILE is written after every row, and holds what it was measured with:
another model, text or count of windows needs another FILE. --keep: the quantized files stay in FOLDER.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

import plot

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = ("Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q5_1,Q5_0,Q4_K_M,Q4_K_S,Q4_1,Q4_0,IQ4_NL,IQ4_XS,Q3_K_L,Q3_K_M,Q3_K_S,IQ3_M,IQ3_S,IQ3_XS,IQ3_XXS,Q2_K,Q2_K_S,"
         "IQ2_M,IQ2_S,IQ2_XS,IQ2_XXS,IQ1_M,IQ1_S")
SERIES = ["llama.cpp", "llama.cpp+imatrix", "pare", "pare --size", "pare convert"]
FIGURES = {  # of llama-perplexity --kl-divergence: name -> what its line looks like
    "perplexity": r"Mean PPL\(Q\)\s*:\s*(\S+) ±\s*(\S+)",
    "base_perplexity": r"Mean PPL\(base\)\s*:\s*(\S+) ±\s*(\S+)",
    "kl": r"Mean\s+KLD:\s*(\S+) ±\s*(\S+)",
    "top1": r"Same top p:\s*(\S+) ±\s*(\S+) %",
}


def fail(message):
    sys.exit(f"gguf_vs_llama_cpp: {message}")


def lines_of(text, span, name):
    first, last = map(int, span.split("-"))
    lines = pathlib.Path(text).read_text(encoding="utf-8").splitlines(keepends=True)
    if not 1 <= first <= last <= len(lines):
        fail(f"--{name} {span}: {text} has {len(lines)} lines")
    return "".join(lines[first - 1:last])


class Unable(Exception):
    """A program did not make what it was asked for; its last words."""


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.work = arguments.work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.pare = arguments.pare.resolve()
        self.binaries = arguments.llama_cpp.resolve()
        for program in ("llama-imatrix", "llama-quantize", "llama-perplexity"):
            if not (self.binaries / program).exists():
                fail(f"{self.binaries} has no {program}: --llama-cpp is the folder with llama.cpp's programs, mostly build/bin")
        if not self.pare.exists():
            fail(f"{self.pare} is missing: make build, or --pare PATH")
        libraries = os.pathsep.join(filter(None, [str(self.binaries), os.environ.get("LD_LIBRARY_PATH")]))
        self.environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        self.calibration, self.judged = self.work / "calibration.txt", self.work / "judged.txt"
        self.calibration.write_text(lines_of(arguments.text, arguments.calib_lines, "calib-lines"), encoding="utf-8")
        self.judged.write_text(lines_of(arguments.text, arguments.judge_lines, "judge-lines"), encoding="utf-8")
        self.help = {command: self.words(self.pare, command, "--help") for command in ("compress", "convert")}
        self.base = self.made_base(arguments.model.resolve())
        self.held = self.opened_results()

    # -- running

    def run(self, command, log):
        """Runs to the end with its words in `log`: wall seconds. Raises Unable."""
        command = [str(word) for word in command]
        began = time.monotonic()
        with open(log, "w") as out:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=self.environment).returncode
        seconds = time.monotonic() - began
        if code != 0 and not (code == 6 and "compress" in command):  # 6: written, but worse than --max-kl
            said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            why = next((line for line in said if "failed to quantize: " in line), said[-1] if said else "no word")
            raise Unable(f"exit {code}: {why.split('failed to quantize: ')[-1]}")
        return seconds

    def words(self, *command):
        return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment).stdout

    # -- made once

    def made_base(self, model):
        if model.is_file():
            return model
        base = self.work / f"{model.name}.F16.gguf"
        if not base.exists():
            folder = self.work / "base"
            shutil.rmtree(folder, ignore_errors=True)
            self.must([self.pare, "convert", model, "-o", folder, "--format", "gguf", "--dtype", "f16"], "base")
            next(folder.glob("*.gguf")).rename(base)
            shutil.rmtree(folder)
        return base

    def must(self, command, name):
        try:
            return self.run(command, self.work / f"{name}.log")
        except Unable as why:
            fail(f"{name}: {why}; all of it is in {self.work / name}.log")

    def matrix(self):
        path = self.work / "imatrix.gguf"
        if not path.exists():
            a = self.arguments
            unfinished = self.work / "unfinished.imatrix.gguf"
            self.held["imatrix_seconds"] = self.must([self.binaries / "llama-imatrix", "-m", self.base, "-f", self.calibration, "-o", unfinished, "-c", a.length,
                                                      "--chunks", a.samples, "-t", a.threads, "--no-ppl"], "imatrix")
            unfinished.rename(path)
        return path

    def judge(self, file, *more):
        a = self.arguments
        return [self.binaries / "llama-perplexity", "-m", file, "-f", self.judged, "-c", a.judge_length, "--chunks", a.judge_chunks, "-t", a.threads,
                "--kl-divergence-base", self.work / "logits.bin", *more]

    def opened_results(self):
        a = self.arguments
        settings = {"base": self.base.name, "base_bytes": self.base.stat().st_size, "text": a.text.name, "calib_lines": a.calib_lines, "samples": a.samples,
                    "length": a.length, "judge_lines": a.judge_lines, "judge_length": a.judge_length, "judge_chunks": a.judge_chunks}
        mark = self.work / "settings.json"  # the matrix and the logits in the folder are of these
        if mark.exists() and json.loads(mark.read_text()) != settings:
            for file in ("imatrix.gguf", "logits.bin"):
                (self.work / file).unlink(missing_ok=True)
        mark.write_text(json.dumps(settings))
        held = json.loads(a.json.read_text()) if a.json.exists() and not a.again else {"settings": settings, "rows": []}
        if held["settings"] != settings:
            changed = ", ".join(key for key in settings if held["settings"].get(key) != settings[key])
            fail(f"{a.json} was measured with other settings ({changed}): give another --json, or --again")
        held["load_before"] = round(os.getloadavg()[0], 2)
        return held

    # -- one row

    def row_of(self, kind, series):
        return next((row for row in self.held["rows"] if (row["type"], row["series"]) == (kind, series)), None)

    def sources(self, kind, series):
        """(command that makes it, file or folder that it makes); raises Unable."""
        a = self.arguments
        out = self.work / f"{kind}.{series.replace(' ', '').replace('+', '-')}"
        quantize = [self.binaries / "llama-quantize"]
        text = ["--calib", self.calibration, "--samples", a.samples, "--length", a.length, "--eval-tokens", 0, "--max-kl", 1e9, "--threads", a.threads]
        if series == "llama.cpp":
            return [*quantize, self.base, out, kind, a.threads], out
        if series == "llama.cpp+imatrix":
            return [*quantize, "--imatrix", self.matrix(), self.base, out, kind, a.threads], out
        if series == "pare":
            return [self.pare, "compress", self.base, "-o", out, "--format", "gguf", "--type", kind, *text], out
        if series == "pare --size":
            if not re.search(r"^\s+--size\b", self.help["compress"], re.MULTILINE):
                raise Unable("this pare has no compress --size")
            theirs = [row for row in map(lambda one: self.row_of(kind, one), ("llama.cpp+imatrix", "llama.cpp")) if row and "bytes" in row]
            if not theirs:
                raise Unable("no file of llama.cpp to take the size from")
            return [self.pare, "compress", self.base, "-o", out, "--format", "gguf", "--size", theirs[0]["bytes"], *text], out
        if not re.search(r"^\s+--type\b", self.help["convert"], re.MULTILINE):
            raise Unable("this pare has no convert --type")
        return [self.pare, "convert", self.base, "-o", out, "--format", "gguf", "--type", kind], out

    def timed(self, kind, series, rounds):
        """Makes the file `rounds` times: (the file, seconds of each)."""
        command, out = self.sources(kind, series)
        seconds = []
        for _ in range(rounds):
            remove(out)
            for old in out.parent.glob(out.name + ".*"):  # Pare's journal too: nothing is resumed
                if old.suffix != ".log":
                    remove(old)
            seconds.append(round(self.run(command, pathlib.Path(f"{out}.log")), 2))
        return (out if out.is_file() else next(out.glob("*.gguf"))), seconds

    def judged_row(self, file):
        if not (self.work / "logits.bin").exists():
            self.must(self.judge(self.base), "logits")
        log = self.work / "judge.log"
        self.run(self.judge(file, "--kl-divergence"), log)
        text, figures = log.read_text(encoding="utf-8", errors="replace"), {}
        for name, pattern in FIGURES.items():
            found = re.search(pattern, text)
            if not found:
                raise Unable(f"llama-perplexity did not say its {name}")
            figures[name], figures[name + "_stderr"] = map(float, found.groups())
        self.held["base_perplexity"] = figures.pop("base_perplexity")
        figures.pop("base_perplexity_stderr")
        return figures

    def make(self, kind, series):
        row = {"type": kind, "series": series}
        file = None
        try:
            plain = series in ("llama.cpp", "llama.cpp+imatrix", "pare convert")
            file, seconds = self.timed(kind, series, self.arguments.rounds if plain else 1)
            row.update(bytes=file.stat().st_size, seconds=statistics.median(seconds), rounds=seconds)
            row.update(self.judged_row(file))
        except Unable as why:
            row["error"] = str(why)
        if file is not None and not self.arguments.keep:
            remove(file if file.parent == self.work else file.parent)
        return row

    def all(self):
        a = self.arguments
        if a.again:
            self.held["rows"] = []
        for kind in filter(None, a.types.split(",")):
            for series in a.only.split(",") if a.only else SERIES:
                if series not in SERIES:
                    fail(f"--only {series}: expected some of {', '.join(SERIES)}")
                row = self.row_of(kind, series)
                if row is None or "error" in row:
                    self.held["rows"] = [other for other in self.held["rows"] if other is not row]
                    row = self.make(kind, series)
                    self.held["rows"].append(row)
                    a.json.parent.mkdir(parents=True, exist_ok=True)
                    unfinished = a.json.with_suffix(".unfinished")
                    unfinished.write_text(json.dumps(self.held, indent=1) + "\n")
                    unfinished.rename(a.json)
                print(spoken(row), flush=True)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def spoken(row):
    if "error" in row:
        return f"{row['type']:8s} {row['series']:18s} {row['error']}"
    return (f"{row['type']:8s} {row['series']:18s} {row['bytes'] / 1e6:8.2f} MB  perplexity {row['perplexity']:8.3f}  KL {row['kl']:.4f}  "
            f"top-1 {row['top1']:.1f} %  {row['seconds']:.1f} s")


def table(held):
    """Markdown. The last two columns: the row's figure over that of llama.cpp with its matrix at the same type."""
    settings = held["settings"]
    lines = [f"{settings['base']}, {settings['base_bytes'] / 1e6:.1f} MB, perplexity {held.get('base_perplexity', float('nan')):.3f}; "
             f"{settings['judge_chunks']} windows of {settings['judge_length']}, calibrated on {settings['samples']} of {settings['length']}"
             + (f"; llama-imatrix took {held['imatrix_seconds']:.0f} s." if "imatrix_seconds" in held else "."), "",
             "| type | by | MB | perplexity | KL | top-1 | s | KL / theirs with imatrix | bytes / theirs |", "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    rows = {(row["type"], row["series"]): row for row in held["rows"]}
    for kind in dict.fromkeys(row["type"] for row in held["rows"]):
        theirs = rows.get((kind, "llama.cpp+imatrix"), {})
        for series in SERIES:
            row = rows.get((kind, series))
            if row is None:
                continue
            if "error" in row:
                lines.append(f"| {kind} | {series} | {row['error'].replace('|', '/')} |" + " |" * 6)
                continue
            compare = "kl" in theirs and series != "llama.cpp+imatrix"
            ratios = [f"{row['kl'] / theirs['kl']:.3f}", f"{row['bytes'] / theirs['bytes']:.3f}"] if compare else ["", ""]
            lines.append("| " + " | ".join([kind, series, f"{row['bytes'] / 1e6:.2f}", f"{row['perplexity']:.3f}", f"{row['kl']:.4f}", f"{row['top1']:.1f} %",
                                            f"{row['seconds']:.1f}", *ratios]) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True, help="folder with llama-imatrix, llama-quantize, llama-perplexity")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--pare", type=pathlib.Path, default=ROOT / "pare")
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    parser.add_argument("--calib-lines", default="1-2200")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--judge-lines", default="2400-3760")
    parser.add_argument("--judge-length", type=int, default=2048)
    parser.add_argument("--judge-chunks", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="runs of llama-quantize and pare convert, whose median is taken")
    parser.add_argument("--only", help="some of: " + ", ".join(SERIES))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    bench.all()
    text = table(bench.held)
    print("\n" + text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.plot:
        arguments.plot.write_text(plot.drawn(bench.held["rows"]))


if __name__ == "__main__":
    main()
