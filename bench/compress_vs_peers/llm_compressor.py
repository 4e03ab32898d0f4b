"""One compression with llm-compressor, as its documentation does it; the last line it prints is JSON: what took how many seconds.

    python llm_compressor.py MODEL OUT TEXT --method gptq|rtn|sparsegpt|wanda [--bits 4 --group 64 --asym] [--sparsity 0.5|2:4]

Everything not said is llm-compressor's default: GPTQ with actorder "static", damping 0.01, blocks of 128 columns, min-max scales;
lm_head left alone. sparsegpt or wanda with --bits: pruned, then rounded to nearest (its GPTQ does not keep the zeros).
Quantized results are saved packed (compressed-tensors), pruned ones dense.
"""
import argparse
import json
import time

import torch
from datasets import Dataset
from llmcompressor import oneshot
from transformers import AutoModelForCausalLM, AutoTokenizer

from windows import calibration_windows


def recipe(arguments):
    steps = []
    if arguments.method in ("sparsegpt", "wanda"):
        from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier

        kind = {"sparsegpt": SparseGPTModifier, "wanda": WandaPruningModifier}[arguments.method]
        pattern = ":" in arguments.sparsity
        steps.append(kind(sparsity=0.5 if pattern else float(arguments.sparsity), mask_structure=arguments.sparsity if pattern else "0:0",
                          targets=["Linear"], ignore=["re:.*lm_head"]))
    if arguments.bits:
        from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

        weights = {"num_bits": arguments.bits, "type": "int", "symmetric": not arguments.asym, "strategy": "group", "group_size": arguments.group}
        kind = GPTQModifier if arguments.method == "gptq" else QuantizationModifier
        steps.append(kind(config_groups={"group_0": {"targets": ["Linear"], "weights": weights}}, ignore=["lm_head"]))
    return steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("text")
    parser.add_argument("--method", default="gptq", choices=["gptq", "rtn", "sparsegpt", "wanda"])
    parser.add_argument("--bits", type=int)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--sparsity", default="0.5")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    started = time.time()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    data = {}
    if arguments.method != "rtn":  # rounding takes no data
        windows = calibration_windows(tokenizer, arguments.text, arguments.samples, arguments.length)
        data = {"dataset": Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * arguments.length] * len(windows)}),
                "max_seq_length": arguments.length, "num_calibration_samples": arguments.samples, "shuffle_calibration_samples": False}
    loaded = time.time()
    oneshot(model=model, recipe=recipe(arguments), **data)
    worked = time.time()
    model.save_pretrained(arguments.out, save_compressed=bool(arguments.bits))
    tokenizer.save_pretrained(arguments.out)
    print(json.dumps({"load_seconds": loaded - started, "work_seconds": worked - loaded, "save_seconds": time.time() - worked}))


if __name__ == "__main__":
    main()
