"""The GPTQ solve of one layer, from its Hessian to its codes: ours beside llm-compressor's and GPTQModel's, on this machine's CPU.

    python3 bench/gptq_solve_peers.py [--shape 4096x4096] [--bits 4] [--threads 2] [--repeat 1]

Ours is build/release/bin/gptq_solve (made by `make build`; best of three). The peers' Python environments are made by setup/venv.sh where they
are missing; each is timed on its own solve function, with its own defaults. 4 bits, symmetric, groups of 128 (64 where 128 does not
divide). The weights are random; the Hessian is that of random activations, correlated and with a few large channels, drawn in the same
way for all (not the same numbers). Timed: scales from the weights, damping, ordering, factoring, walk; not the Hessian itself.
loss: tr(E H E') / tr(W H W'), E the error of the weights; rtn is plain rounding on the same grid with min-max scales.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = {"llm-compressor": "llm_compressor", "gptqmodel": "gptqmodel"}


def made_up_layer(out, inputs):
    import torch

    torch.manual_seed(1)
    weight = 0.02 * torch.randn(out, inputs)
    mix = torch.randn(inputs, inputs) * (0.7 / inputs**0.5) + 0.5 * torch.eye(inputs)
    size = torch.exp(0.8 * torch.randn(inputs))
    hessian, tokens = torch.zeros(inputs, inputs), 2 * inputs
    for begin in range(0, tokens, 2048):
        x = torch.randn(min(2048, tokens - begin), inputs) @ mix * size
        hessian += x.T @ x
    return weight, hessian / tokens, tokens


def relative_loss(weight, quantized, hessian):
    error = (quantized - weight).double()
    h, w = hessian.double(), weight.double()
    return float(((error @ h) * error).sum() / ((w @ h) * w).sum())


def llm_compressor_solver(out, inputs, bits, group):
    import torch
    from compressed_tensors.quantization import ActivationOrdering, QuantizationArgs, fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    # GPTQModifier's defaults: static activation order, min-max scales, damping 0.01, blocks of 128.
    wanted = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="group", group_size=group, actorder=ActivationOrdering.STATIC)

    def grid(weight):
        groups = weight.reshape(out, inputs // group, group)
        return calculate_qparams(groups.amin(-1), groups.amax(-1), wanted)

    def solve(weight, hessian, tokens):
        scale, zero = grid(weight)
        quantized, _, failed = quantize_weight(weights=weight.unsqueeze(0), hessians=hessian.unsqueeze(0), scale=scale.unsqueeze(0),
                                               zero_point=zero.unsqueeze(0), global_scale=None, quant_args=wanted, blocksize=128, percdamp=0.01)
        if bool(torch.any(failed)):
            raise SystemExit("llm-compressor could not factor the Hessian")
        return quantized[0]

    def rounded(weight):
        scale, zero = grid(weight)
        return fake_quantize(weight, scale, zero, wanted)

    return solve, rounded


def gptqmodel_solver(out, inputs, bits, group):
    import torch
    from gptqmodel import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    # QuantizeConfig's defaults: group-aware activation order, min-max scales, damping 0.05.
    config = QuantizeConfig(bits=bits, group_size=group, sym=True, device="cpu")

    def solve(weight, hessian, tokens):
        linear = torch.nn.Linear(inputs, out, bias=False)
        linear.weight.data = weight
        task = GPTQ(linear, config)
        task.quantizer.configure(perchannel=True)
        task.H, task.nsamples = hessian, tokens
        return task.quantize()[0]

    return solve, None


def measure_peer(name, out, inputs, bits, group, threads, repeat):
    import torch

    torch.set_num_threads(threads)
    solver = {"llm-compressor": llm_compressor_solver, "gptqmodel": gptqmodel_solver}[name]
    solve, rounded = solver(out, inputs, bits, group)
    first, _ = solver(2 * group, 2 * group, bits, group)
    with torch.inference_mode():
        first(*made_up_layer(2 * group, 2 * group))  # what is loaded on first use
        weight, hessian, tokens = made_up_layer(out, inputs)
        best = float("inf")
        for _ in range(repeat):
            mine = weight.clone(), hessian.clone()  # they work in place
            before = time.perf_counter()
            quantized = solve(*mine, tokens)
            best = min(best, time.perf_counter() - before)
        result = {"seconds": best, "loss": relative_loss(weight, quantized, hessian)}
        if rounded:
            result["rtn_loss"] = relative_loss(weight, rounded(weight), hessian)
    print(json.dumps(result))


def last_json_line(command, environment):
    with tempfile.TemporaryDirectory() as folder:  # GPTQModel leaves logs where it runs
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"gptq_solve_peers.py: {command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="4096x4096", metavar="OUTxIN")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, help="best of so many, of the peers")
    parser.add_argument("--peer", choices=list(PEERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out, inputs = map(int, arguments.shape.split("x"))
    group = 128 if inputs % 128 == 0 else 64
    if arguments.peer:
        measure_peer(arguments.peer, out, inputs, arguments.bits, group, arguments.threads, arguments.repeat)
        return
    if arguments.bits != 4:
        sys.exit("gptq_solve_peers.py: build/release/bin/gptq_solve measures 4 bits; --bits is for --peer")

    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    ours = last_json_line([ROOT / "build/release/bin/gptq_solve", arguments.shape], environment)
    sym4 = ours["sym4"]
    rows = [("pare, walk", sym4["walk_s"], sym4["walk_relative_loss"], sym4["rtn_relative_loss"]),
            ("pare, as by default", sym4["default_s"], sym4["default_relative_loss"], sym4["rtn_relative_loss"])]
    for peer, name in PEERS.items():
        subprocess.run([ROOT / "setup/venv.sh", name], check=True)
        theirs = last_json_line([ROOT / "build/venvs" / name / "bin/python", pathlib.Path(__file__).resolve(), "--peer", peer, "--shape", arguments.shape,
                                 "--threads", arguments.threads, "--repeat", arguments.repeat], environment)
        rows.append((peer, theirs["seconds"], theirs["loss"], theirs.get("rtn_loss")))
    print(f"{arguments.shape}, 4 bits, symmetric, groups of {group}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    print("| solver | s | / pare's walk | / pare's default | loss | rtn's loss |\n|---|--:|--:|--:|--:|--:|")
    for name, seconds, loss, plain in rows:
        print(f"| {name} | {seconds:.3f} | {seconds / rows[0][1]:.1f} | {seconds / rows[1][1]:.1f} | {loss:.3e} | {'' if plain is None else f'{plain:.3e}'} |")


if __name__ == "__main__":
    main()
