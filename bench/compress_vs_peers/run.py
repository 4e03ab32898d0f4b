"""Pare beside llm-compressor and GPTQModel: same model, text, tokens, threads and machine, one after the other.

    python3 bench/compress_vs_peers/run.py --model MODEL --text WIKITEXT_VALID --work FOLDER --json FILE
            [--tools pare,llm-compressor,gptqmodel] [--rows gptq4,gptq3,...] [--samples 128] [--length 512]
            [--eval-tokens N] [--again] [--check] [--keep]

MODEL is a dense Hugging Face folder, or a GGUF file (made dense once, in FOLDER/base, by
`pare convert X.gguf -o FOLDER/base --format hf --dtype f32`). The peers' Python environments are made by setup/venv.sh where they are
missing. Lines 1-2500 of the text calibrate: every tool gets the very same windows. Lines 2501-3760 evaluate, in windows of 2048; every
result is evaluated by `pare eval`, which reads what the peers wrote, against the base, outside the timed runs; --check also has the peer's
own software read it. All tools: groups of 64, lm_head and embeddings left alone, 32-bit floats (GPTQModel's default is bfloat16), else
their own defaults.

wall s and peak MB: the whole process with imports, loading and saving, and its children; the peak is of resident memory, sampled ten times
a second where there are children. work s: the compression alone, as the tool itself says it.
A row that FILE already holds is not run again, unless --again; FILE is written after every run.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PARE = ROOT / "pare"
TOOLS = ["pare", "llm-compressor", "gptqmodel"]
VENVS = {"llm-compressor": "llm_compressor", "gptqmodel": "gptqmodel"}
EVAL_LENGTH = "2048"

# name: (options of pare, options of llm_compressor.py or None, options of gptqmodel_run.py or None)
# llm-compressor's magnitude pruning belongs to training, GPTQModel does not prune.
ROWS = {
    "rtn4": (["--method", "rtn", "--bits", "4"], ["--method", "rtn", "--bits", "4"], None),
    "rtn3-asym": (["--method", "rtn", "--bits", "3", "--asym"], ["--method", "rtn", "--bits", "3", "--asym"], None),
    "rtn2-asym": (["--method", "rtn", "--bits", "2", "--asym"], ["--method", "rtn", "--bits", "2", "--asym"], None),
    "gptq4": (["--bits", "4"], ["--method", "gptq", "--bits", "4"], ["--bits", "4"]),
    "gptq4-asym": (["--bits", "4", "--asym"], ["--method", "gptq", "--bits", "4", "--asym"], ["--bits", "4", "--asym"]),
    "gptq3": (["--bits", "3"], ["--method", "gptq", "--bits", "3"], ["--bits", "3"]),
    "gptq3-asym": (["--bits", "3", "--asym"], ["--method", "gptq", "--bits", "3", "--asym"], ["--bits", "3", "--asym"]),
    "gptq2-asym": (["--bits", "2", "--asym"], ["--method", "gptq", "--bits", "2", "--asym"], ["--bits", "2", "--asym"]),
    "magnitude50": (["--method", "magnitude", "--sparsity", "0.5"], None, None),
    "magnitude2:4": (["--method", "magnitude", "--sparsity", "2:4"], None, None),
    "wanda50": (["--method", "wanda", "--sparsity", "0.5"], ["--method", "wanda", "--sparsity", "0.5"], None),
    "wanda2:4": (["--method", "wanda", "--sparsity", "2:4"], ["--method", "wanda", "--sparsity", "2:4"], None),
    "sparsegpt50": (["--sparsity", "0.5"], ["--method", "sparsegpt", "--sparsity", "0.5"], None),
    "sparsegpt2:4": (["--sparsity", "2:4"], ["--method", "sparsegpt", "--sparsity", "2:4"], None),
    "sparsegpt2:4+4bit": (["--sparsity", "2:4", "--bits", "4"], ["--method", "sparsegpt", "--sparsity", "2:4", "--bits", "4"], None),
}


def fail(message):
    sys.exit(f"run.py: {message}")


def resident_bytes(root):
    """Of the process and its descendants: (how many processes, their resident bytes)."""
    parents, resident = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                after_name = open(f"/proc/{name}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(name)] = int(after_name[1])
            resident[int(name)] = int(after_name[21]) * os.sysconf("SC_PAGE_SIZE")
    tree = {root}
    while True:
        more = {child for child, parent in parents.items() if parent in tree} - tree
        if not more:
            return len(tree), sum(resident.get(process, 0) for process in tree)
        tree |= more


def timed(command, log, environment, folder):
    """Runs to the end: wall seconds, processor seconds and peak resident memory of the process and its children."""
    load = os.getloadavg()[0]
    before = time.time()
    with open(log, "w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        peak, over = [0], threading.Event()

        def watch():
            while not over.wait(0.1):
                count, size = resident_bytes(process.pid)
                if count > 1:
                    peak[0] = max(peak[0], size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        over.set()
        watcher.join()
    return {"seconds": round(time.time() - before, 1), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "peak_bytes": max(peak[0], usage.ru_maxrss * 1024), "load_before": round(load, 2), "exit": os.waitstatus_to_exitcode(status)}


def last_json_line(path):
    for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                pass
    return {}


class Runner:
    def __init__(self, arguments):
        self.arguments = arguments
        self.work = arguments.work.resolve()
        (self.work / "tmp").mkdir(parents=True, exist_ok=True)
        self.pythons = {"llm-compressor": arguments.llm_compressor, "gptqmodel": arguments.gptqmodel}  # None: made by prepare()
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "MKL_NUM_THREADS": str(arguments.threads),
                            "GPTQMODEL_CPU_WORKERS": str(arguments.threads), "HF_HUB_OFFLINE": "1", "TMPDIR": str(self.work / "tmp")}
        lines = open(arguments.text, encoding="utf-8", newline="").read().split("\n")
        if len(lines) < 3760:
            fail(f"{arguments.text} has {len(lines)} lines; expected WikiText-2's validation text (3760)")
        self.calib_text = self.work / "calibrate.txt"
        self.eval_text = self.work / "evaluate.txt"
        self.calib_text.write_text("\n".join(lines[:2500]) + "\n", encoding="utf-8")
        self.eval_text.write_text("\n".join(lines[2500:3760]) + "\n", encoding="utf-8")
        self.model = pathlib.Path(arguments.model).resolve()
        if self.model.suffix == ".gguf":
            self.model = self.work / "base"
            if not self.model.exists():
                subprocess.run([PARE, "convert", arguments.model, "-o", self.model, "--format", "hf", "--dtype", "f32"], check=True)

    def prepare(self, tool):
        """Makes the environment and builds what would else be compiled inside the first timed run."""
        if tool == "pare" or self.pythons[tool]:
            return
        name = VENVS[tool]
        subprocess.run([ROOT / "setup/venv.sh", name], check=True)
        self.pythons[tool] = ROOT / "build/venvs" / name / "bin/python"
        if tool == "gptqmodel":
            with open(self.work / "gptqmodel-kernels.log", "w") as log:
                if subprocess.run([self.pythons[tool], HERE / "gptqmodel_run.py", "--build-kernels"], stdout=log, stderr=log,
                                  env=self.environment, cwd=self.work / "tmp").returncode:
                    fail(f"GPTQModel could not build its kernels, see {log.name}")

    def command(self, row, tool, out):
        options = ROWS[row][TOOLS.index(tool)]
        common = ["--samples", self.arguments.samples, "--length", self.arguments.length, "--threads", self.arguments.threads]
        group = ["--group", "64"] if "--bits" in options else []
        if tool == "pare":
            return [PARE, "compress", self.model, "-o", out, *options, *group, "--calib", self.calib_text, "--eval-tokens", "0", *common]
        script = {"llm-compressor": "llm_compressor.py", "gptqmodel": "gptqmodel_run.py"}[tool]
        return [self.pythons[tool], HERE / script, self.model, out, self.calib_text, *options, *group, *common]

    def evaluate(self, model, against=True):
        command = [PARE, "eval", model, "--text", self.eval_text, "--length", EVAL_LENGTH, "--threads", self.arguments.threads, "--json"]
        command += ["--against", self.model] if against else []
        command += ["--tokens", self.arguments.eval_tokens] if self.arguments.eval_tokens else []
        before = time.time()
        result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        if result.returncode:
            return {"error": f"pare eval: exit {result.returncode}"}
        keys = ["perplexity", "perplexity_stderr", "kl", "top1", "tokens", "length"]
        figures = json.loads(result.stdout)
        return {**{key: figures[key] for key in keys}, "eval_seconds": round(time.time() - before, 1)}

    def checked(self, tool, model):
        """The perplexity by the peer's own software."""
        command = [self.pythons[tool], HERE / "perplexity.py", model, self.eval_text, "--length", EVAL_LENGTH]
        command += ["--tokens", self.arguments.eval_tokens] if self.arguments.eval_tokens else []
        command += ["--gptqmodel"] if tool == "gptqmodel" else []
        log = pathlib.Path(f"{model}.check.log")
        with open(log, "w") as out:
            code = subprocess.run(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, env=self.environment,
                                  cwd=self.work / "tmp").returncode
        return {"perplexity_by_itself": last_json_line(log)["perplexity"]} if code == 0 else {"check_error": f"exit {code}, see {log}"}

    def run(self, row, tool):
        out = self.work / f"{row.replace(':', '-')}-{tool}"
        log = pathlib.Path(f"{out}.log")
        for old in [out, *out.parent.glob(out.name + ".*")]:  # Pare's journal too: nothing is resumed
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        figures = {"row": row, "tool": tool, **timed(self.command(row, tool, out), log, self.environment, self.work / "tmp")}
        if figures["exit"] not in ((0, 6) if tool == "pare" else (0,)):
            return {**figures, "error": f"exit {figures['exit']}, see {log}"}
        if tool == "pare":
            figures["work_seconds"] = json.loads((out / "report.json").read_text())["resources"]["phases"]["compress"]
        else:
            figures.update(last_json_line(log))
        figures["result_bytes"] = sum(file.stat().st_size for file in out.glob("*.safetensors"))
        figures.update(self.evaluate(out))
        if self.arguments.check and tool != "pare":
            figures.update(self.checked(tool, out))
        if not self.arguments.keep:
            shutil.rmtree(out)
        return figures


def table(results):
    """Markdown; the last three columns are the peer's figure over Pare's in the same row."""
    base = results["base"]["perplexity"]
    by_row = {(figures["row"], figures["tool"]): figures for figures in results["rows"]}
    lines = ["| row | tool | perplexity | x base | KL | top-1 | wall s | CPU s | work s | peak MB | perplexity / Pare's | wall / Pare's "
             "| memory / Pare's |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in ROWS:
        ours = by_row.get((row, "pare"))
        for tool in TOOLS:
            figures = by_row.get((row, tool))
            if not figures:
                continue
            if "error" in figures:
                lines.append(f"| {row} | {tool} | {figures['error']} |" + " |" * 10)
                continue
            cells = [row, tool, f"{figures['perplexity']:.3f}", f"{figures['perplexity'] / base:.4f}", f"{figures['kl']:.4f}",
                     f"{100 * figures['top1']:.1f} %", f"{figures['seconds']:.1f}", f"{figures['cpu_seconds']:.1f}", f"{figures['work_seconds']:.1f}",
                     f"{figures['peak_bytes'] / 1e6:.0f}"]
            compare = tool != "pare" and ours and "error" not in ours
            cells += [f"{figures[key] / ours[key]:.3f}" if compare else "" for key in ("perplexity", "seconds", "peak_bytes")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--json", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--eval-tokens", type=int, help="evaluate on the first N tokens only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="run again what the file holds")
    parser.add_argument("--check", action="store_true", help="perplexity by the peer's own software too")
    parser.add_argument("--keep", action="store_true", help="keep the compressed models")
    parser.add_argument("--llm-compressor", metavar="PYTHON", type=os.path.abspath, help="instead of build/venvs/llm_compressor")
    parser.add_argument("--gptqmodel", metavar="PYTHON", type=os.path.abspath, help="instead of build/venvs/gptqmodel")
    arguments = parser.parse_args()
    rows, tools = arguments.rows.split(","), arguments.tools.split(",")
    for given, known, what in ((rows, list(ROWS), "row"), (tools, TOOLS, "tool")):
        for name in given:
            if name not in known:
                fail(f"no {what} '{name}'; there are {', '.join(known)}")

    runner = Runner(arguments)
    settings = {"model": str(arguments.model), "samples": arguments.samples, "length": arguments.length, "eval_tokens": arguments.eval_tokens,
                "threads": arguments.threads}
    results = {"settings": settings, "base": None, "rows": []}
    if arguments.json.exists():
        results = json.loads(arguments.json.read_text())
        if results["settings"] != settings:
            fail(f"{arguments.json} holds results of other settings ({results['settings']}); give another file")

    def save():
        partial = arguments.json.with_name(arguments.json.name + ".partial")
        partial.write_text(json.dumps(results, indent=1) + "\n")
        partial.replace(arguments.json)

    if not results["base"]:
        results["base"] = runner.evaluate(runner.model, against=False)
        if "error" in results["base"]:
            fail(f"the base: {results['base']['error']}")
        save()
    print(f"base perplexity {results['base']['perplexity']:.4f} over {results['base']['tokens']} tokens", flush=True)
    for tool in tools:
        if any(ROWS[row][TOOLS.index(tool)] is not None for row in rows):
            runner.prepare(tool)
    for row in rows:
        for tool in tools:
            if ROWS[row][TOOLS.index(tool)] is None:
                continue
            done = [figures for figures in results["rows"] if (figures["row"], figures["tool"]) == (row, tool)]
            if done and "error" not in done[0] and not arguments.again:
                continue
            figures = runner.run(row, tool)
            results["rows"] = [other for other in results["rows"] if other not in done] + [figures]
            save()
            print(f"{row:<18} {tool:<15} " + (figures.get("error") or f"perplexity {figures['perplexity']:.3f}, {figures['seconds']:.1f} s"), flush=True)
    print("\n" + table(results))


if __name__ == "__main__":
    main()
