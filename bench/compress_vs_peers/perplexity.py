"""Perplexity of what a peer wrote, as the peer's own software reads it, on the windows of `pare eval`: to check `pare eval`.

    python perplexity.py MODEL TEXT --length 2048 [--tokens N] [--gptqmodel]

One JSON line. Without --gptqmodel: transformers (with compressed-tensors where it is installed). GPTQModel's CPU kernel computes in
16 bits only: with --gptqmodel its own unpacking gives the weights, and transformers computes with them in 32. GPTQModel 7.7's reader of
its own asymmetric results adds one to all packed zero points at once, so a zero point of 0 (stored as all ones) carries into its neighbour:
0.02 % of the weights at 2 bits come out a step off. `pare eval` reads each for itself, as they were made.
"""
import argparse
import json
import math

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from windows import evaluation_windows


def unpacked_by_gptqmodel(path):
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.nn_modules.qlinear import BaseQuantLinear

    model = GPTQModel.load(path, device="cpu", dtype=torch.float16, backend=BACKEND.GPTQ_TORCH).model
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseQuantLinear):
            dense = torch.nn.Linear(module.in_features, module.out_features, bias=False)
            dense.weight.data = module.dequantize_weight().T.float().contiguous()
            model.set_submodule(name, dense)
    return model.float()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--gptqmodel", action="store_true")
    arguments = parser.parse_args()
    if arguments.gptqmodel:
        model = unpacked_by_gptqmodel(arguments.model)
    else:
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    windows = evaluation_windows(AutoTokenizer.from_pretrained(arguments.model), arguments.text, arguments.length, arguments.tokens)
    total = 0.0
    with torch.inference_mode():
        for ids in windows:
            total += float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    print(json.dumps({"perplexity": math.exp(total / len(windows)), "windows": len(windows)}))


if __name__ == "__main__":
    main()
