"""One compression with GPTQModel; prints one JSON line with the seconds it took.

    GPTQMODEL_CPU_WORKERS=2 python gptqmodel_run.py MODEL OUT TEXT --bits 4 --group 64 [--asym]
"""
import argparse
import json
import time

from gptqmodel import GPTQModel, QuantizeConfig
from transformers import AutoTokenizer

from windows import calibration_windows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("text")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    arguments = parser.parse_args()

    started = time.time()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    windows = calibration_windows(tokenizer, arguments.text, arguments.samples, arguments.length)
    config = QuantizeConfig(bits=arguments.bits, group_size=arguments.group, sym=not arguments.asym)
    model = GPTQModel.load(arguments.model, config, device="cpu")
    model.quantize([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in windows], batch_size=1)
    model.save(arguments.out)
    print(json.dumps({"seconds": time.time() - started}))


if __name__ == "__main__":
    main()
