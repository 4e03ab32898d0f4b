"""One compression with GPTQModel; the last line it prints is JSON: what took how many seconds.

    GPTQMODEL_CPU_WORKERS=2 python gptqmodel_run.py MODEL OUT TEXT --bits 4 --group 64 [--asym] [--dtype float32|bfloat16]
    python gptqmodel_run.py --build-kernels      what it compiles when first used, so that no timed run does it

Everything not said is GPTQModel's default: group-aware activation order (act_group_aware), damping 0.05, no MSE scale search,
modules offloaded to disk; lm_head left alone. It computes in bfloat16 on a CPU unless told otherwise; here float32 as the others do.
"""
import argparse
import json
import sys
import time

import torch
from gptqmodel import GPTQModel, QuantizeConfig
from transformers import AutoTokenizer

from windows import calibration_windows


def main():
    if sys.argv[1:] == ["--build-kernels"]:
        from gptqmodel import extension

        print(extension.load("pack_block_cpu"))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("text")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    started = time.time()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    windows = calibration_windows(tokenizer, arguments.text, arguments.samples, arguments.length)
    config = QuantizeConfig(bits=arguments.bits, group_size=arguments.group, sym=not arguments.asym)
    model = GPTQModel.load(arguments.model, config, device="cpu", dtype=getattr(torch, arguments.dtype))
    loaded = time.time()
    model.quantize([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in windows], batch_size=1)
    worked = time.time()
    model.save(arguments.out)
    print(json.dumps({"load_seconds": loaded - started, "work_seconds": worked - loaded, "save_seconds": time.time() - worked}))


if __name__ == "__main__":
    main()
