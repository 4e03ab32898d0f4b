"""The tokens that every tool gets: the very windows that `pare compress --seed 0` takes for calibration, and those of `pare eval`."""

MASK = (1 << 64) - 1


def mix64(x):
    """As in src/pare/base/random.h."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def tokens_of(tokenizer, text):
    return tokenizer(open(text, encoding="utf-8", newline="").read(), add_special_tokens=False)["input_ids"]


def calibration_windows(tokenizer, text, samples, length, seed=0):
    """As in src/pare/text/windows.cpp, sample_windows."""
    ids = tokens_of(tokenizer, text)
    if len(ids) < samples * length:
        raise SystemExit(f"{text} has {len(ids)} tokens; {samples} windows of {length} were asked for: give more text or fewer --samples")
    key = mix64(seed)
    for character in b"calibration windows":
        key = mix64(key ^ character)
    starts = [(mix64(key ^ mix64(i)) * (len(ids) - length + 1)) >> 64 for i in range(samples)]
    return [ids[start : start + length] for start in starts]


def evaluation_windows(tokenizer, text, length, tokens=None):
    """One behind the other over the first `tokens` tokens; the last, shorter one is dropped."""
    ids = tokens_of(tokenizer, text)[:tokens]
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
