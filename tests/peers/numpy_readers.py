"""Readers of GPTQ (v1 keeps each zero less one) and of compressed-tensors' bitmasks that share nothing with Pare: from the formats' descriptions.

They are all there is for what no installed library loads, and a second opinion on what GPTQModel says.
"""
import json
import pathlib
import re

import numpy as np
import torch
from safetensors import safe_open


def tensors_of(folder):
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    return tensors


def gptq_weights(folder):
    """name.weight -> f32 [out, in], of every module that has a qweight."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "gptq" and config["checkpoint_format"] in ("gptq", "gptq_v2")
    rules = {pattern[2:]: rule for pattern, rule in config.get("dynamic", {}).items() if pattern.startswith("+:")}
    tensors, weights = tensors_of(folder), {}
    for name in [n.removesuffix(".qweight") for n in tensors if n.endswith(".qweight")]:
        part = {key: tensors[f"{name}.{key}"].numpy() for key in ("qweight", "qzeros", "scales", "g_idx")}
        bits = next((rule["bits"] for pattern, rule in rules.items() if re.match(pattern, name)), config["bits"])
        codes = _fields(part["qweight"].T, bits).T.astype(np.float32)  # [in, out]
        stored = _fields(part["qzeros"], bits)[:, :codes.shape[1]]
        zeros = (stored if config["checkpoint_format"] == "gptq_v2" else (stored + 1) % 2 ** bits).astype(np.float32)
        group = part["g_idx"]
        dense = (codes - zeros[group]) * part["scales"].astype(np.float32)[group]
        weights[name + ".weight"] = torch.from_numpy(dense.T.copy())
    return weights


def _fields(words, bits):
    """The unsigned fields of `bits` in each row of int32, lowest bits first, straddling words."""
    row_bytes = np.ascontiguousarray(words.astype("<u4")).view(np.uint8).reshape(words.shape[0], -1)
    stream = np.unpackbits(row_bytes, axis=1, bitorder="little")
    stream = stream[:, :stream.shape[1] // bits * bits].reshape(words.shape[0], -1, bits)
    return (stream.astype(np.int64) << np.arange(bits)).sum(axis=2)


def bitmask_weights(folder):
    """name.weight -> f32 [out, in], of every pruned matrix: set bits, lowest first, are the values kept, row by row."""
    tensors, weights = tensors_of(folder), {}
    for name in [n.removesuffix(".bitmask") for n in tensors if n.endswith(".bitmask")]:
        rows, cols = tensors[f"{name}.shape"].flatten().tolist()
        bits = np.unpackbits(tensors[f"{name}.bitmask"].numpy(), axis=1, bitorder="little").astype(bool)
        assert bits.shape[0] == rows and not bits[:, cols:].any(), f"{name}: bits past the last column"
        kept = torch.from_numpy(bits[:, :cols].copy())
        values = tensors[f"{name}.compressed"].float().flatten()
        assert int(kept.sum()) == len(values), f"{name}: as many bits as values"
        dense = torch.zeros(rows, cols)
        dense[kept] = values
        weights[name.removesuffix(".weight") + ".weight"] = dense
    return weights
