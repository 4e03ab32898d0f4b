"""The other way: layers that other people's software rounded and packed, read by Pare to the numbers that it means by them."""
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

import checks


def nf4(kind, nested):
    def make(weight):
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit
        codes, state = quantize_4bit(weight, blocksize=64, quant_type=kind, compress_statistics=nested)
        stored = {"weight": codes, **{"weight." + name: tensor for name, tensor in state.as_dict(packed=True).items()}}
        return stored, dequantize_4bit(codes, state).float()
    return make, lambda: {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": nested}


def compressed(format, kind, strategy, group=None, block=None):
    """By compressed-tensors' own compressor; scales of the largest weight, as its observers have it."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    args = QuantizationArgs(num_bits=8, type=kind, strategy=strategy, symmetric=True, group_size=group, block_structure=block)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)

    def make(weight):
        out, width = weight.shape
        down, across = {"tensor": (out, width), "channel": (1, width), "group": (1, group), "block": tuple(block or (0, 0))}[strategy]
        parts = weight.reshape(out // down, down, width // across, across)
        scale = (parts.abs().amax(dim=(1, 3)) / (448 if kind == "float" else 127)).to(torch.bfloat16).float()
        scale = scale.reshape(1) if strategy == "tensor" else scale
        compressor = BaseCompressor.get_value_from_registry(format)
        stored = compressor.compress({"weight": weight, "weight_scale": scale}, scheme)
        return stored, compressor.decompress(dict(stored), scheme)["weight"].float()
    group_0 = {"targets": ["Linear"], "weights": args.model_dump(mode="json")}
    return make, lambda: {"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": group_0}, "ignore": ["lm_head"]}


def awq(weight):
    """GPTQModel's packing of AutoAWQ's layout, and its unpacking."""
    from gptqmodel.nn_modules.qlinear.gemm_awq import _pack_awq_columns
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
    group, (out, width) = 32, weight.shape
    parts = weight.T.reshape(width // group, group, out)
    low, high = parts.amin(1).clamp(max=0), parts.amax(1).clamp(min=0)
    scales = ((high - low) / 15).half()
    zeros = (-low / scales.float()).round().clamp(0, 15).to(torch.int32)
    codes = (parts / scales.float()[:, None] + zeros[:, None]).round().clamp(0, 15).to(torch.int32).reshape(width, out)
    stored = {"qweight": _pack_awq_columns(codes, 4), "qzeros": _pack_awq_columns(zeros, 4), "scales": scales}
    return stored, dequantize_gemm(stored["qweight"], stored["qzeros"], scales.float(), 4, group).T.float()


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}


def rows(bench):
    """(name, check) of each layout that Pare reads and others write."""
    made = {
        "bitsandbytes nf4": lambda: nf4("nf4", False), "bitsandbytes nf4, nested": lambda: nf4("nf4", True),
        "bitsandbytes fp4": lambda: nf4("fp4", False), "awq 4 g32 by GPTQModel": lambda: (awq, lambda: AWQ),
        "float-quantized, channel": lambda: compressed("float-quantized", "float", "channel"),
        "float-quantized, tensor": lambda: compressed("float-quantized", "float", "tensor"),
        "float-quantized, 32 x 32": lambda: compressed("float-quantized", "float", "block", block=[32, 32]),
        "int-quantized, channel": lambda: compressed("int-quantized", "int", "channel"),
        "naive-quantized, g32": lambda: compressed("naive-quantized", "int", "group", group=32),
    }
    return [(f"theirs: {name}", lambda make=make: read(bench, *make())) for name, make in made.items()]


def read(bench, make, config):
    """A folder of the tiny model with such layers: every value that Pare reads is theirs."""
    source, folder = bench.models["tiny"], bench.work / "theirs"
    for path in (folder, bench.work / "dense"):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, folder)
    tensors, expected = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            stored, expected[name] = make(tensor.float())
            tensors |= {f"{name.removesuffix('.weight')}.{part}": value.contiguous() for part, value in stored.items()}
        else:
            tensors[name], expected[name] = tensor, tensor.float()
    save_file(tensors, folder / "model.safetensors")
    path = pathlib.Path(folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": config()}))
    found = load_file(bench.dense(folder, "dense") / "model.safetensors")
    checks.complete(found, expected)
    return {"tensors": f"{checks.tensors(found, expected)} by Pare"}
