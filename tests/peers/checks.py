"""What must agree between a model as a peer loaded it and Pare's own dense f32 of it."""
import math

import torch
from transformers import GenerationConfig

PROMPTS = ["The capital of France is", "Water boils at", "Once upon a time, there was", "def add(a, b):", "The answer to the question",
           "In 1969, two men", "Bread is made from", "Dear Sir or Madam,", "1, 2, 3, 4,", "Paris, Rome and Berlin are"]
NEW_TOKENS = 20

# Largest difference of logits, relative to the largest logit, between models of one type: sums in another order.
# In f16 the products of some processors (AMD's) are rounded in another order with weights that are dequantized at each call: seen up to 2.5e-3, and 5.7e-3 on the real model.
LOGITS = {"f32": 1e-4, "f16": 1e-2}
# Of perplexity, by what the peer computes in. 1e-4 is 0.01 %; f16 has 11 bits, and a few dozen roundings come one behind the other.
PERPLEXITY = {"f32": 1e-4, "f16": 2e-3}


class Failed(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failed(message)


def tensors(found, expected, rounded_to=None):
    """Bit by bit. `rounded_to`: expected values are rounded to this type first, for peers that dequantize in it."""
    for name, tensor in found.items():
        if name == "lm_head.weight" and name not in expected:  # tied
            continue
        require(name in expected, f"{name}: the peer has it, Pare does not")
        ours = expected[name] if rounded_to is None else expected[name].to(rounded_to).float()
        require(tensor.shape == ours.shape, f"{name}: {tuple(tensor.shape)}, Pare has {tuple(ours.shape)}")
        if not torch.equal(tensor, ours):
            worst = (tensor - ours).abs().max().item()
            raise Failed(f"{name}: {int((tensor != ours).sum())} of {ours.numel()} values differ, by up to {worst:.3g}")
    return len(found)


def complete(found, expected):
    missing = [name for name in expected if name not in found and name != "lm_head.weight"]
    require(not missing, f"{missing[:3]}: Pare has it, the peer does not")


def metadata(found, config):
    wanted = {"general.architecture": "llama", "llama.block_count": config.num_hidden_layers, "llama.embedding_length": config.hidden_size,
              "llama.feed_forward_length": config.intermediate_size, "llama.attention.head_count": config.num_attention_heads,
              "llama.attention.head_count_kv": config.num_key_value_heads}
    for key, value in wanted.items():
        require(found.get(key) == value, f"{key} is {found.get(key)}, expected {value}")


def zeros(expected, share):
    for name, tensor in expected.items():
        if name.endswith("_proj.weight"):
            found = (tensor == 0).float().mean().item()
            require(found >= share - 1e-3, f"{name}: {found:.4f} of it is zero, {share} was asked for")


@torch.no_grad()
def logits(model, reference, tokenizer, computed="f32"):
    worst = 0.0
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        ours, theirs = reference(ids).logits.float(), model(ids).logits.float()
        worst = max(worst, ((ours - theirs).abs().max() / ours.abs().max()).item())
    require(worst <= LOGITS[computed], f"logits differ by {worst:.2g} of the largest, {LOGITS[computed]} is allowed")
    return worst


@torch.no_grad()
def text(model, reference, tokenizer, prompts, computed="f32"):
    """Greedy, token by token; or that they part only where the reference itself has two candidates within rounding."""
    ties = 0
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "pad_token_id": 0,
                   "attention_mask": torch.ones_like(ids)}
        reference.generation_config = model.generation_config = GenerationConfig()  # loaders differ in what they assume of end tokens
        ours, theirs = reference.generate(ids, **options)[0], model.generate(ids, **options)[0]
        if torch.equal(ours, theirs):
            continue
        at = int((ours != theirs).nonzero()[0])
        last = reference(ours[None, :at]).logits[0, -1].float()
        margin = (last[ours[at]] - last[theirs[at]]).item() / last.abs().max().item()
        require(margin <= 2 * LOGITS[computed], f"{prompt!r}: texts part at token {at - ids.shape[1]}, and it is no tie ({margin:.2g})")
        ties += 1
    return "same" if ties == 0 else f"{len(prompts) - ties} same, {ties} part at ties"


@torch.no_grad()
def perplexity(model, ids, length):
    """As tests/oracles/perplexity_oracle.py: windows one behind the other, each predicts length - 1 tokens, f64 sums."""
    windows = [ids[i:i + length] for i in range(0, len(ids) - length + 1, length)]
    total = 0.0
    for window in windows:
        x = torch.tensor([window])
        pieces = zip(model(x).logits[0, :-1].split(128), x[0, 1:].split(128))
        total += sum(torch.nn.functional.cross_entropy(a.double(), b, reduction="sum").item() for a, b in pieces)
    return math.exp(total / (len(windows) * (length - 1)))


def same_perplexity(ours, theirs, kind):
    off = abs(theirs / ours - 1)
    require(off <= PERPLEXITY[kind], f"perplexity {theirs:.6g}, Pare's {ours:.6g}: {100 * off:.3g} % apart, {100 * PERPLEXITY[kind]:g} % is allowed")
    return off
