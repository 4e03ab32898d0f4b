#!/usr/bin/env python3
"""A llama model made wider with zeros: the same function, every row a multiple of 256.

    python3 bench/gguf_vs_llama_cpp/pad_smollm2.py MODEL OUT [--hidden 768] [--check auto|transformers|pare|none] [--text FILE] [--pare PATH]

MODEL is a dense Hugging Face folder, or a GGUF file, which `pare convert` makes dense first. SmolLM2-135M is 576 wide, which 256 does not
divide: K and I types fall back to others there. Padded to 768 they show what they are worth. OUT is a Hugging Face folder.

    hidden 576 -> 768, heads 9 -> 12, key-value heads 3 -> 4 (head_dim 64 and queries a head stay), feed-forward 1536 stays

The added entries of the residual stream are zero for ever: the rows of o_proj and down_proj that would write them are zero, as are the
embedding's columns. A root mean square over 768 of which 192 are zero is sqrt(576 / 768) of that over 576, so the weights of the norms take
that factor (in fp32, whatever the type of the rest) and eps takes 576 / 768: x / sqrt(r m + r eps) * sqrt(r) w = x / sqrt(m + eps) * w.
Added heads have zero queries, keys and values, and zero columns in o_proj. With grouped queries the old heads keep their key-value head: the new
ones go to the added one.

--check: logits of both in fp32 by transformers (agree to 1e-4), or the perplexities of `pare eval` on the first tokens of --text (equal to 1e-5
of themselves); auto: the first that can be had. Ends with 1 when they do not agree. numpy only.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is added is zero, and zero has the same bits in all of these: no value is converted but those of the norms.
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
PROMPT = "The European lobster grows to a length of 60 cm and bears a conspicuous pair of claws. In life, the lobsters are blue; they become"


def fail(message):
    sys.exit(f"pad_smollm2: {message}")


def read_tensors(folder):
    """name -> (stored type, array) of every safetensors file of the folder."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:8 + size]).items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in STORED:
                fail(f"{path.name}: {name} is {entry['dtype']}; expected a dense model ({', '.join(STORED)}): pare convert --dequantize makes one")
            begin, end = (8 + size + at for at in entry["data_offsets"])
            tensors[name] = (entry["dtype"], numpy.frombuffer(data[begin:end], STORED[entry["dtype"]]).reshape(entry["shape"]))
    if not tensors:
        fail(f"{folder} has no .safetensors files")
    return tensors


def write_tensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (stored, array) in tensors.items():
        header[name] = {"dtype": stored, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, array in tensors.values():
            out.write(numpy.ascontiguousarray(array).tobytes())


def as_float32(stored, array):
    if stored == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype("<f4")


def widened(name, stored, array, old, new):
    """One tensor of the wider model. old, new: {"hidden", "queries", "keys"}, the widths; feed-forward is not among them."""
    outputs = {"q_proj": "queries", "k_proj": "keys", "v_proj": "keys", "o_proj": "hidden", "down_proj": "hidden"}
    inputs = {"q_proj": "hidden", "k_proj": "hidden", "v_proj": "hidden", "o_proj": "queries", "gate_proj": "hidden", "up_proj": "hidden",
              "embed_tokens": "hidden", "lm_head": "hidden"}
    module, kind = name.split(".")[-2:]
    if kind == "weight" and re.search(r"(^|_|\.)(norm|layernorm)$", module):
        scaled = as_float32(stored, array).astype("<f8") * (old["hidden"] / new["hidden"]) ** 0.5
        return "F32", numpy.pad(scaled.astype("<f4"), (0, new["hidden"] - old["hidden"]))
    if module not in inputs and module not in outputs:
        fail(f"{name}: what it is for is not known; expected a llama model without further parts")
    roles = [outputs.get(module), inputs.get(module)][:array.ndim]
    for axis, role in enumerate(roles):
        if role and array.shape[axis] != old[role]:
            fail(f"{name}: dimension {axis} is {array.shape[axis]}; config.json says {old[role]}")
    return stored, numpy.pad(array, [(0, new[role] - old[role]) if role else (0, 0) for role in roles])


def pad(source, out, hidden):
    config = json.loads((source / "config.json").read_text())
    if config.get("model_type") != "llama":
        fail(f"{source}/config.json: model_type is {config.get('model_type')}; expected llama")
    heads, head_dim = config["num_attention_heads"], config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    shared = heads // config.get("num_key_value_heads", heads)  # heads a key-value head
    kv_heads = hidden // head_dim // shared
    if hidden % (head_dim * shared) or hidden < config["hidden_size"]:
        fail(f"--hidden {hidden}: expected a multiple of head_dim {head_dim} x {shared} heads a key-value head, {config['hidden_size']} or more")
    old = {"hidden": config["hidden_size"], "queries": heads * head_dim, "keys": heads // shared * head_dim}
    new = {"hidden": hidden, "queries": hidden, "keys": kv_heads * head_dim}
    out.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json" and ".safetensors" not in file.name:
            shutil.copy(file, out)
    tensors = {name: widened(name, *held, old, new) for name, held in read_tensors(source).items()}
    write_tensors(out / "model.safetensors", tensors)
    config.update(hidden_size=hidden, num_attention_heads=hidden // head_dim, num_key_value_heads=kv_heads, head_dim=head_dim,
                  rms_norm_eps=config["rms_norm_eps"] * old["hidden"] / hidden)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"hidden {old['hidden']} -> {hidden}, heads {heads} -> {hidden // head_dim}, key-value heads {heads // shared} -> {kv_heads}, "
          f"eps {config['rms_norm_eps']:g}: {out}")


def same_logits(source, out):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(source)(PROMPT, return_tensors="pt").input_ids
    logits = []
    for folder in (source, out):
        with torch.inference_mode():
            logits.append(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits)
    apart = float((logits[0] - logits[1]).abs().max())
    print(f"logits by transformers, {ids.shape[1]} tokens: {apart:.2g} apart at most, of up to {float(logits[0].abs().max()):.1f}")
    return apart <= 1e-4


def same_perplexity(source, out, pare, text):
    found = []
    for folder in (source, out):
        done = subprocess.run([pare, "eval", folder, "--text", text, "--length", "512", "--tokens", "2048", "--json"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            fail(f"pare eval {folder} ended with {done.returncode}")
        found.append(json.loads(done.stdout)["perplexity"])
    print(f"perplexity by pare eval: {found[0]:.6f} and {found[1]:.6f}")
    return abs(found[0] - found[1]) <= 1e-5 * found[0]


def check(how, source, out, pare, text):
    if how in ("auto", "transformers"):
        try:
            return same_logits(source, out)
        except ImportError as error:
            if how == "transformers":
                fail(f"--check transformers: {error}")
    if text is None:
        fail("nothing to check with: install transformers, or give --text FILE for pare eval, or --check none")
    return same_perplexity(source, out, pare, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--check", default="auto", choices=["auto", "transformers", "pare", "none"])
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--pare", type=pathlib.Path, default=ROOT / "pare")
    arguments = parser.parse_args()
    if arguments.out.exists():
        fail(f"{arguments.out} is there already")
    with tempfile.TemporaryDirectory() as scratch:
        source = arguments.model
        if source.is_file():
            source = pathlib.Path(scratch) / "dense"
            subprocess.run([arguments.pare, "convert", arguments.model, "-o", source, "--format", "hf", "--dequantize"], check=True)
        pad(source, arguments.out, arguments.hidden)
        if arguments.check != "none" and not check(arguments.check, source, arguments.out, arguments.pare, arguments.text):
            fail("the padded model does not compute the same: nothing measured on it would tell about the original")


if __name__ == "__main__":
    main()
