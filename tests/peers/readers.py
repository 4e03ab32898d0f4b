"""Models as other people's software loads them."""
import importlib.metadata
import importlib.util
import pathlib

import gguf
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import numpy_readers

PACKAGES = ["transformers", "compressed-tensors", "gptqmodel", "optimum", "aqlm", "bitsandbytes", "gguf", "tokenizers", "safetensors", "torch"]


def versions():
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} absent")
    return ", ".join(found)


def gguf_file(folder):
    return next((path.name for path in pathlib.Path(folder).glob("*.gguf")), None)


def load(folder, reader="transformers", dtype=torch.float32):
    """A model whose call gives logits. GPTQModel's linears compute in f16, so with it the whole model does."""
    if reader == "gptqmodel.load":
        from gptqmodel import BACKEND, GPTQModel
        return GPTQModel.load(str(folder), backend=BACKEND.GPTQ_TORCH, device="cpu", dtype=torch.float16).model.eval()
    options = {"dtype": dtype}
    if reader == "gguf":
        options["gguf_file"] = gguf_file(folder)
    if reader == "gptqmodel":
        from transformers import GPTQConfig
        options["dtype"] = torch.float16
        # "auto" takes kernels that are compiled at the first call, minutes, and that round more. `bits` is overruled by the file's
        options["quantization_config"] = GPTQConfig(bits=4, backend="gptq_torch")
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def load_tokenizer(folder):
    file = gguf_file(folder)
    return AutoTokenizer.from_pretrained(folder, **({"gguf_file": file} if file else {}))


def has_gptqmodel():
    return all(importlib.util.find_spec(name) for name in ("gptqmodel", "optimum"))


def weights(model):
    """Parameters of a loaded model, name -> f32; and those of its quantized modules, as they dequantize themselves."""
    plain = {name: tensor.detach().float() for name, tensor in model.state_dict().items() if name.endswith((".weight", ".bias"))}
    rounded = {name + ".weight": module.dequantize_weight().T.detach().float()
               for name, module in model.named_modules() if hasattr(module, "dequantize_weight")}  # GPTQModel's linears, [in, out]
    rounded |= {name + ".weight": aqlm_weight(module.codes, module.codebooks, module.scales)
                for name, module in model.named_modules() if hasattr(module, "codebooks")}
    return plain, rounded


def decompressed_weights(folder, config):
    """By compressed-tensors' own code, module by module; and its compressor makes the same bytes of them again."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    (group,) = config.quantization_config["config_groups"].values()
    scheme = QuantizationScheme(targets=group["targets"], weights=group["weights"])
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    tensors, result = numpy_readers.tensors_of(folder), {}
    for name in [n.removesuffix(".weight_packed") for n in tensors if n.endswith(".weight_packed")]:
        stored = {n.removeprefix(name + "."): tensor for n, tensor in tensors.items() if n.startswith(name + ".")}
        stored["weight_scale"] = stored["weight_scale"].float()
        dense = compressor.decompress(dict(stored), scheme)
        again = compressor.compress(dense, scheme)
        for part in ("weight_packed", "weight_zero_point"):
            assert torch.equal(again[part], stored[part]), f"{name}.{part}: compressed-tensors itself writes other bytes"
        result[name + ".weight"] = dense["weight"].float()
    return result


def aqlm_weights(folder):
    """By the aqlm package's own dequantization."""
    tensors = numpy_readers.tensors_of(folder)
    names = [name.removesuffix(".codes") for name in tensors if name.endswith(".codes")]
    return {name + ".weight": aqlm_weight(*(tensors[f"{name}.{part}"] for part in ("codes", "codebooks", "scales"))) for name in names}


def aqlm_weight(codes, codebooks, scales):
    from aqlm.utils import _dequantize_weight, unpack_int_data
    bits = codebooks.shape[1].bit_length() - 1
    if codes.shape[0] != scales.shape[0]:  # its kernel for 8 bits turns them at the first call
        codes = codes.permute(1, 0, 2)
    return _dequantize_weight(unpack_int_data(codes.detach(), bits), codebooks.detach().float(), scales.detach().float())


def gguf_weights(folder, config):
    """Hugging Face name -> f32, by the gguf package alone: its names, shapes and dequantizers."""
    layers = config.num_hidden_layers
    to_gguf = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    names = ["model.embed_tokens", "model.norm", "lm_head"]
    for layer in range(layers):
        names += [f"model.layers.{layer}.{part}" for part in (
            "input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
            "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]
    to_hf = {to_gguf.get_name(name) + ".weight": name + ".weight" for name in names}
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    result = {}
    for tensor in gguf.GGUFReader(pathlib.Path(folder) / gguf_file(folder)).tensors:
        name = to_hf[tensor.name]  # KeyError: a tensor that llama.cpp would not know
        dense = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        assert list(dense.shape) == [int(n) for n in reversed(tensor.shape)], tensor.name
        kind = name.split(".")[-2]
        if kind in heads:  # llama's rows are interleaved for rotary embeddings of adjacent pairs
            dense = dense.reshape(heads[kind], -1, 2, dense.shape[1]).transpose(1, 2).reshape(dense.shape)
        result[name] = dense
    return result


def gguf_metadata(folder):
    fields = gguf.GGUFReader(pathlib.Path(folder) / gguf_file(folder)).fields
    return {name: field.contents() for name, field in fields.items()
            if name.startswith("general.") or name.startswith("llama.")}


def independent_weights(folder, variant, config):
    """A second reading of the same bytes, without transformers: (who read, name -> f32), or nothing."""
    if variant.reader == "gguf":
        return "gguf", gguf_weights(folder, config)
    if variant.reader == "decompress":
        return "compressed-tensors", decompressed_weights(folder, AutoConfig.from_pretrained(folder))
    if variant.reader in ("gptqmodel", "gptqmodel.load"):
        return "numpy", numpy_readers.gptq_weights(folder)
    if variant.reader == "aqlm":
        return "aqlm", aqlm_weights(folder)
    if variant.reader == "none":
        return "numpy", numpy_readers.bitmask_weights(folder)
    return None, {}
