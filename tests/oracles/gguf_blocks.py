"""Fingerprints of decoded GGUF blocks, for src/pare/weights/gguf_blocks_test.cpp: forty blocks of random bytes a type.

    pip install gguf numpy
    python tests/oracles/gguf_blocks.py [libggml-base.so]

The values are those of the gguf package (0.19.0), and of ggml itself where its library is given; both must be the same. Types
that the package does not have (Q1_0, Q2_0) come from the library alone.
"""
import ctypes
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants

BLOCKS = 40
# name: elements and bytes of a block, places of f16 scales (their top exponent bit is cleared: finite numbers)
TYPES = {
    "IQ1_S": (256, 50, [0]), "IQ1_M": (256, 56, [54]), "IQ2_XXS": (256, 66, [0]), "IQ2_XS": (256, 74, [0]),
    "IQ2_S": (256, 82, [0]), "IQ3_XXS": (256, 98, [0]), "IQ3_S": (256, 110, [0]), "TQ1_0": (256, 54, [52]),
    "TQ2_0": (256, 66, [64]), "MXFP4": (32, 17, []), "NVFP4": (64, 36, []), "Q1_0": (128, 18, [0]), "Q2_0": (64, 18, [0]),
    "Q4_0": (32, 18, [0]), "Q6_K": (256, 210, [208]), "IQ4_XS": (256, 136, [0]),
}
WORD = (1 << 64) - 1


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def random_blocks(name):
    """As random_blocks() of the test: CounterRandom(7, name), a byte an index."""
    _, size, halves = TYPES[name]
    key = mix64(7)
    for c in name.encode():
        key = mix64(key ^ c)
    data = bytearray(mix64(key ^ mix64(i)) & 0xFF for i in range(BLOCKS * size))
    for block in range(BLOCKS):
        for at in halves:
            data[block * size + at + 1] &= 0xBF
    return bytes(data)


def fingerprint(values):
    h = 0xCBF29CE484222325
    for word in values.view(np.uint32).tolist():
        h = ((h ^ word) * 0x100000001B3) & WORD
    return h


def of_package(name, data):
    kind = getattr(GGMLQuantizationType, name, None)
    if kind is None:
        return None
    try:
        with np.errstate(over="ignore"):
            values = quants.dequantize(np.frombuffer(data, dtype=np.uint8).reshape(BLOCKS, -1), kind)
        return values.astype(np.float32).reshape(-1)
    except NotImplementedError:
        return None


def of_library(library, name, data):
    function = getattr(library, "dequantize_row_" + (name.lower() if not name.endswith("_K") else name[:-1].lower() + "K"))
    values = np.empty(BLOCKS * TYPES[name][0], dtype=np.float32)
    function(ctypes.c_char_p(data), values.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(values.size))
    return values


def main():
    library = ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else None
    for name in TYPES:
        data = random_blocks(name)
        values = of_package(name, data)
        if library is not None:
            own = of_library(library, name, data)
            assert values is None or np.array_equal(values.view(np.uint32), own.view(np.uint32)), name
            values = own
        print(f'{{"{name}", 0x{fingerprint(values):016x}ull}},' if values is not None else f"{name}: needs the library")


if __name__ == "__main__":
    main()
