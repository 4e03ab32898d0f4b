"""Pare beside llm-compressor and GPTQModel: same model, text, tokens and machine, one after the other in one run.

    python3 bench/compress_vs_peers/run.py --model MODEL --text WIKITEXT_VALID --work FOLDER
            [--llm-compressor VENV/bin/python] [--gptqmodel VENV/bin/python] [--rows gptq4,gptq3,...] [--json FILE]

MODEL is a dense Hugging Face folder (`pare convert X.gguf -o MODEL --format hf --dtype f32` makes one). Lines 1-2500 of the text
calibrate (128 windows of 512 tokens), lines 2501-3760 evaluate (windows of 2048). Every result is evaluated by
`pare eval`, which reads what the peers wrote. Wall time and peak memory are those of the whole process.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
PARE = HERE.parent.parent / "pare"

# name: (options of pare, options of llm_compressor.py or None, options of gptqmodel_run.py or None)
ROWS = {
    "rtn4": (["--method", "rtn", "--bits", "4"], ["--method", "rtn", "--bits", "4"], None),
    "rtn3": (["--method", "rtn", "--bits", "3", "--asym"], ["--method", "rtn", "--bits", "3", "--asym"], None),
    "rtn2": (["--method", "rtn", "--bits", "2", "--asym"], ["--method", "rtn", "--bits", "2", "--asym"], None),
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
    "sparsegpt2:4+4bit": (["--sparsity", "2:4", "--bits", "4"], None, None),
}


def timed(command, log, environment=None):
    """Runs to the end; wall seconds and the child's own peak memory."""
    before = time.time()
    with open(log, "w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.time() - before
    code = os.waitstatus_to_exitcode(status)
    return {"seconds": round(seconds, 1), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_bytes": usage.ru_maxrss * 1024, "exit": code}


def evaluate(model, arguments):
    result = subprocess.run([PARE, "eval", model, "--against", arguments.model, "--text", arguments.eval_text, "--length", "2048", "--json"],
                            stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else {"error": f"pare eval: exit {result.returncode}"}


def tools_of(row, arguments):
    pare, compressor, gptqmodel = ROWS[row]
    group = ["--group", "64"] if "--bits" in pare else []
    yield "pare", lambda out: [PARE, "compress", arguments.model, "-o", out, *pare, *group, "--calib", arguments.calib_text,
                               "--samples", "128", "--length", "512", "--eval-tokens", "0"], None
    if compressor and arguments.llm_compressor:
        yield "llm-compressor", lambda out: [arguments.llm_compressor, HERE / "llm_compressor.py", arguments.model, out, arguments.calib_text, *compressor], None
    if gptqmodel and arguments.gptqmodel:
        yield "gptqmodel", lambda out: [arguments.gptqmodel, HERE / "gptqmodel_run.py", arguments.model, out, arguments.calib_text, *gptqmodel], {"GPTQMODEL_CPU_WORKERS": "2"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--llm-compressor")
    parser.add_argument("--gptqmodel")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = open(arguments.text, encoding="utf-8").read().split("\n")
    arguments.calib_text = arguments.work / "calibrate.txt"
    arguments.eval_text = arguments.work / "evaluate.txt"
    arguments.calib_text.write_text("\n".join(lines[:2500]) + "\n", encoding="utf-8")
    arguments.eval_text.write_text("\n".join(lines[2500:3760]) + "\n", encoding="utf-8")
    base = evaluate(arguments.model, arguments)
    results = {"base": base, "rows": []}
    print(f"base perplexity {base['perplexity']:.4f} over {base['tokens']} tokens", flush=True)
    print(f"{'row':<18} {'tool':<15} {'perplexity':>10} {'x base':>7} {'KL':>8} {'top-1':>6} {'wall s':>8} {'peak MB':>8}", flush=True)
    for row in arguments.rows.split(","):
        for tool, command, environment in tools_of(row, arguments):
            out = arguments.work / f"{row.replace(':', '-')}-{tool}"
            shutil.rmtree(out, ignore_errors=True)
            figures = timed(command(out), str(out) + ".log", environment)
            figures.update({"row": row, "tool": tool})
            figures.update(evaluate(out, arguments) if figures["exit"] in (0, 6) else {"error": f"exit {figures['exit']}, see {out}.log"})
            results["rows"].append(figures)
            if "error" in figures:
                print(f"{row:<18} {tool:<15} {figures['error']}", flush=True)
            else:
                print(f"{row:<18} {tool:<15} {figures['perplexity']:>10.3f} {figures['perplexity'] / base['perplexity']:>7.3f} {figures['kl']:>8.4f} "
                      f"{100 * figures['top1']:>5.1f}% {figures['seconds']:>8.1f} {figures['peak_bytes'] / 1e6:>8.0f}", flush=True)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
