"""The calibration windows that every peer gets."""


def calibration_windows(tokenizer, text, samples, length):
    """The same number of tokens as Pare's run; evenly spaced windows of the text."""
    ids = tokenizer(open(text, encoding="utf-8").read(), add_special_tokens=False)["input_ids"]
    step = (len(ids) - length) // (samples - 1)
    return [ids[i * step : i * step + length] for i in range(samples)]

