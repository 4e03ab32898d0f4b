#!/usr/bin/env python3
"""A llama model whose weights lie on the grid of an earlier quantization, moved off it: the same function but for the embedding's noise.

    python3 bench/gguf_vs_llama_cpp/off_grid.py MODEL OUT [--group 32] [--levels 16] [--spread 0.25] [--seed 0]

The weights of the demo model come as Q4_1: groups of 32 with 16 levels. Whatever is then rounded to Q4_1 or Q5_1 is exact, Q4_K nearly, and figures on
it would flatter and mislead. Two things take the grid away:

    channels are scaled where the model lets them: columns of q, k, v and of gate, up by 1 / r with the norm before them times r; rows of up by r and
    columns of down by 1 / r; rows of v by r and the columns of o that see them by 1 / r; r = exp(even random number up to --spread either way)
    each number of the embedding, which is the head as well and has no such freedom, gets an even random number of up to half a step of its group

The first changes nothing but roundings to f16; norms become F32. The second is what rounding had taken away, and makes a base of its own, the same for
every quantizer. MODEL and OUT are Hugging Face folders of safetensors.
"""
import argparse
import json
import pathlib
import re
import shutil
import sys

import numpy

from pad_smollm2 import STORED, as_float32, read_tensors, write_tensors


class Mover:
    def __init__(self, model, a):
        config = json.loads((model / "config.json").read_text())
        if config.get("model_type") != "llama":
            sys.exit(f"off_grid: {model}: model_type is {config.get('model_type')}; expected llama")
        self.queries_a_key = config["num_attention_heads"] // config.get("num_key_value_heads", config["num_attention_heads"])
        self.head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        self.a, self.random = a, numpy.random.default_rng(a.seed)
        self.held = read_tensors(model)
        self.values = {name: as_float32(*held).astype("<f8") for name, held in self.held.items()}

    def factors(self, count):
        return numpy.exp(self.random.uniform(-self.a.spread, self.a.spread, count))

    def block(self, prefix):
        value = lambda name: self.values[prefix + name + ".weight"]
        for norm, readers in (("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
                              ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"))):
            r = self.factors(value(norm).size)
            value(norm)[:] *= r
            for reader in readers:
                value(reader)[:] /= r
        r = self.factors(value("mlp.up_proj").shape[0])
        value("mlp.up_proj")[:] *= r[:, None]
        value("mlp.down_proj")[:] /= r
        r = self.factors(value("self_attn.v_proj").shape[0])
        value("self_attn.v_proj")[:] *= r[:, None]
        of_heads = numpy.repeat(r.reshape(-1, self.head_dim), self.queries_a_key, axis=0).reshape(-1)
        value("self_attn.o_proj")[:] /= of_heads

    def embedding(self, name):
        groups = self.values[name].reshape(-1, self.a.group)
        step = (groups.max(axis=1, keepdims=True) - groups.min(axis=1, keepdims=True)) / (self.a.levels - 1)
        groups += step * (self.random.random(groups.shape) - 0.5)

    def all(self):
        for prefix in sorted({match[0] for match in map(lambda name: re.match(r".*\.layers\.\d+\.", name), self.values) if match}):
            self.block(prefix)
        for name in sorted(self.values):
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                self.embedding(name)
        stored = {name: "F32" if self.values[name].ndim == 1 else held[0] for name, held in self.held.items()}
        return {name: (kind, self.values[name].astype(STORED[kind])) for name, kind in stored.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--group", type=int, default=32)
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--spread", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if a.out.exists():
        sys.exit(f"off_grid: {a.out} is there already")
    tensors = Mover(a.model, a).all()
    a.out.mkdir(parents=True)
    for file in a.model.iterdir():
        if file.is_file() and ".safetensors" not in file.name:
            shutil.copy(file, a.out)
    write_tensors(a.out / "model.safetensors", tensors)
    print(f"{len(tensors)} tensors moved off their grid: {a.out}")


if __name__ == "__main__":
    main()
