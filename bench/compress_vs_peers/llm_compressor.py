"""One compression with llm-compressor, as its documentation does it; prints one JSON line with the seconds it took.

    python llm_compressor.py MODEL OUT TEXT --method gptq --bits 4 --group 64 [--asym] [--sparsity 0.5|2:4]
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
    ignore = ["lm_head"]
    weights = {"num_bits": arguments.bits, "type": "int", "symmetric": not arguments.asym, "strategy": "group", "group_size": arguments.group}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if arguments.method == "gptq":
        from llmcompressor.modifiers.quantization import GPTQModifier

        return GPTQModifier(config_groups=groups, ignore=ignore)
    if arguments.method == "rtn":
        from llmcompressor.modifiers.quantization import QuantizationModifier

        return QuantizationModifier(config_groups=groups, ignore=ignore)
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier

    kind = {"sparsegpt": SparseGPTModifier, "wanda": WandaPruningModifier}[arguments.method]
    mask = arguments.sparsity if ":" in arguments.sparsity else "0:0"
    share = 0.5 if ":" in arguments.sparsity else float(arguments.sparsity)
    return kind(sparsity=share, mask_structure=mask, targets=["Linear"], ignore=["re:.*lm_head"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("text")
    parser.add_argument("--method", default="gptq")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--sparsity", default="0.5")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    arguments = parser.parse_args()

    started = time.time()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    windows = calibration_windows(tokenizer, arguments.text, arguments.samples, arguments.length)
    data = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * arguments.length] * len(windows)})
    oneshot(model=model, dataset=data, recipe=recipe(arguments), max_seq_length=arguments.length,
            num_calibration_samples=arguments.samples, shuffle_calibration_samples=False)
    model.save_pretrained(arguments.out, save_compressed=arguments.method in ("gptq", "rtn"))
    tokenizer.save_pretrained(arguments.out)
    print(json.dumps({"seconds": time.time() - started}))


if __name__ == "__main__":
    main()
