#!/usr/bin/env python3
"""Tiny random decoders of each family and what `transformers` makes of them, for src/pare/nn/decoder_test.cpp.

    python tests/oracles/decoder_oracle.py tests/oracles/decoder

Each case becomes one safetensors file: the weights (f16, exactly as computed with), "oracle.ids" [2, length],
"oracle.logits" f32 [2, length, vocab]; metadata "config" (config.json of transformers 5), "config_v4" (the same as
transformers 4 wrote it) and "made_by" (versions). Needs torch, transformers, safetensors; computes in f32, eagerly.
"""

import copy
import json
import pathlib
import sys

import safetensors
import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM, CONFIG_MAPPING

LENGTH = 23  # longer than every sliding window below

BASE = dict(vocab_size=53, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
GEMMA = BASE | dict(head_dim=12, query_pre_attn_scalar=9, sliding_window=5)

CASES = {
    "llama": ("llama", BASE | dict(num_attention_heads=6, num_key_value_heads=3, hidden_size=36, rms_norm_eps=1e-5,
                                   tie_word_embeddings=False)),
    "smollm2": ("llama", BASE | dict(tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e5))),
    "llama_biases_linear": ("llama", BASE | dict(attention_bias=True, mlp_bias=True, num_key_value_heads=4,
                                                 rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=4.0))),
    "llama3_rope": ("llama", BASE | dict(head_dim=16, rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "mistral": ("mistral", BASE | dict(head_dim=10, sliding_window=7, num_key_value_heads=1)),
    "qwen2_yarn": ("qwen2", BASE | dict(tie_word_embeddings=True, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16))),
    "qwen2_sliding": ("qwen2", BASE | dict(use_sliding_window=True, sliding_window=6, max_window_layers=1,
                                           num_hidden_layers=3)),
    "qwen3": ("qwen3", BASE | dict(head_dim=16, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=2.0, original_max_position_embeddings=32, mscale=0.8,
        mscale_all_dim=0.4, beta_fast=8.0, beta_slow=2.0, truncate=False))),
    "qwen3_biases": ("qwen3", BASE | dict(head_dim=8, attention_bias=True, tie_word_embeddings=True)),
    "smollm3": ("smollm3", BASE | dict(num_hidden_layers=4, no_rope_layer_interval=2, rope_parameters=dict(
        rope_type="default", rope_theta=5e4))),
    "gemma2": ("gemma2", GEMMA | dict(num_hidden_layers=3, attn_logit_softcapping=3.0, final_logit_softcapping=4.0)),
    "gemma3": ("gemma3_text", GEMMA | dict(
        num_hidden_layers=4, layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                             sliding_attention=dict(rope_type="default", rope_theta=1e4)))),
}
NESTED = {"gemma3_nested": "gemma3"}  # the same model inside a wrapper's names and text_config


def config_v4(config):
    """As transformers 4 wrote it: torch_dtype, rope_theta, rope_scaling, for Gemma-3 rope_local_base_freq."""
    old = copy.deepcopy(config)
    if "dtype" in old:
        old["torch_dtype"] = old.pop("dtype")
    rope = old.pop("rope_parameters")
    if "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    old["rope_theta"] = rope.pop("rope_theta")
    old["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    if old["model_type"] == "gemma3_text":
        del old["layer_types"]
        old["sliding_window_pattern"] = 3
    return old


def random_weights(model, seed, gemma):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                noise = 0.3 * noise + (0.0 if gemma else 1.0)
            elif name.endswith("bias"):
                noise = 0.5 * noise
            elif "embed" in name:
                noise = 0.3 * noise
            else:
                noise = 1.6 * noise / parameter.shape[1] ** 0.5
            parameter.copy_(noise.half().float())


def main(folder):
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}, safetensors {safetensors.__version__}"
    saved = {}
    for seed, (name, (model_type, fields)) in enumerate(CASES.items()):
        config = CONFIG_MAPPING[model_type](**fields)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
        random_weights(model, seed, model_type.startswith("gemma"))
        ids = torch.randint(3, config.vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(100 + seed))
        with torch.no_grad():
            logits = model(ids).logits
        assert torch.isfinite(logits).all()
        tensors = {key: value.half().contiguous() for key, value in model.state_dict().items()
                   if not (config.tie_word_embeddings and key == "lm_head.weight")}
        tensors["oracle.ids"], tensors["oracle.logits"] = ids, logits.float().contiguous()
        dictionary = json.loads(config.to_json_string(use_diff=False))
        saved[name] = (dictionary, tensors)
        write(folder / f"{name}.safetensors", tensors, dictionary, config_v4(dictionary), made_by)
        print(f"{name}: |logit| up to {logits.abs().max():.2f}")
    for name, inner in NESTED.items():
        dictionary, tensors = saved[inner]
        tensors = {("" if key.startswith("oracle") else "language_model.") + key: value for key, value in tensors.items()}
        wrap = lambda c: {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": c}
        write(folder / f"{name}.safetensors", tensors, wrap(dictionary), wrap(config_v4(dictionary)), made_by)


def write(path, tensors, config, old_config, made_by):
    metadata = {"config": json.dumps(config), "config_v4": json.dumps(old_config), "made_by": made_by}
    safetensors.torch.save_file(tensors, path, metadata)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
