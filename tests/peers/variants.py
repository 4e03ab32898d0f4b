"""What is written and loaded back: one row of the table each."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    model: str  # "tiny", "wide" (its rows are multiples of 256) or "real"
    name: str
    options: tuple  # of pare compress; of pare convert when `convert`
    reader: str
    # transformers: from_pretrained
    # decompress:   compressed-tensors' own decompressor, where transformers refuses every such folder
    # gptqmodel:    from_pretrained through optimum and GPTQModel;  gptqmodel.load: GPTQModel's own loader
    # aqlm:         from_pretrained with the aqlm package
    # gguf:         the gguf package, and from_pretrained(gguf_file=...)
    # none:         no current library
    convert: bool = False
    recipe: str = ""  # instead of flags
    zeros: float | None = None  # share of zeros that each pruned matrix has, exactly

    def __str__(self):
        return f"{self.model} {self.name}"


def _packed(bits, group, *more):
    return ("--format", "compressed-tensors", "--bits", bits, "--group", group, *more)


def _gptq(bits, group, *more):
    return ("--format", "gptq", "--bits", bits, "--group", group, *more)


def _gguf(bits, *more):
    return ("--format", "gguf", "--bits", bits, "--group", 32, *more)


def _type(name, *more):
    return ("--type", name, *more)


MIXED = "bits: 4\ngroup: 32\nlayers:\n  - match: \"*.down_proj\"\n    bits: 8\n"
RTN = ("--method", "rtn")

VARIANTS = [
    Variant("tiny", "hf dense, magnitude 50 %", ("--format", "hf", "--sparsity", 0.5, "--method", "magnitude"), "transformers", zeros=0.5),
    Variant("tiny", "hf dense, sparsegpt 2:4", ("--format", "hf", "--sparsity", "2:4"), "transformers", zeros=0.5),
    Variant("tiny", "hf dense, gptq 4 bits", ("--format", "hf", "--bits", 4, "--group", 32), "transformers"),
    Variant("tiny", "packed 4 g64", _packed(4, 64), "transformers"),
    Variant("tiny", "packed 4 g32 asym", _packed(4, 32, "--asym"), "decompress"),
    Variant("tiny", "packed 4 rows", _packed(4, -1), "transformers"),
    Variant("tiny", "packed 8 g32", _packed(8, 32), "transformers"),
    Variant("tiny", "packed 8 g64 asym", _packed(8, 64, "--asym"), "decompress"),
    Variant("tiny", "packed 3 g32 asym", _packed(3, 32, "--asym"), "decompress"),
    Variant("tiny", "packed 2 g32", _packed(2, 32), "transformers"),
    Variant("tiny", "packed 4 g32 + 2:4", _packed(4, 32, "--sparsity", "2:4"), "transformers", zeros=0.5),
    Variant("tiny", "packed 4 and 8 g32", ("--format", "compressed-tensors"), "transformers", recipe=MIXED),
    Variant("tiny", "sparse-bitmask 50 %", ("--format", "compressed-tensors", "--sparsity", 0.5), "none", zeros=0.5),
    Variant("tiny", "sparse-24-bitmask 2:4", ("--format", "compressed-tensors", "--sparsity", "2:4"), "none", zeros=0.5),
    Variant("tiny", "gptq 4 g32", _gptq(4, 32), "gptqmodel"),
    Variant("tiny", "gptq 4 g64 asym", _gptq(4, 64, "--asym"), "gptqmodel"),
    Variant("tiny", "gptq 4 rows", _gptq(4, -1), "gptqmodel"),
    Variant("tiny", "gptq 8 g32", _gptq(8, 32), "gptqmodel"),
    Variant("tiny", "gptq 8 g32 asym", _gptq(8, 32, "--asym"), "gptqmodel"),
    Variant("tiny", "gptq 3 g32", _gptq(3, 32), "gptqmodel"),
    Variant("tiny", "gptq 3 g32 asym", _gptq(3, 32, "--asym"), "gptqmodel"),
    Variant("tiny", "gptq 2 g32 asym", _gptq(2, 32, "--asym"), "gptqmodel"),
    Variant("tiny", "gptq 4 and 8 g32", ("--format", "gptq"), "gptqmodel.load", recipe=MIXED),
    Variant("tiny", "gptq 4 and 8 g32 asym", ("--format", "gptq"), "gptqmodel.load", recipe=MIXED + "symmetric: false\n"),
    Variant("tiny", "gptq 4 g32 asym, own loader", _gptq(4, 32, "--asym"), "gptqmodel.load"),
    *(Variant("tiny", f"aqlm {name}", ("--format", "aqlm", "--type", name, "--lossy"), "aqlm", convert=True) for name in ("2x8", "1x8", "3x6g16")),
    Variant("tiny", "gguf Q4_0", _gguf(4), "gguf"),
    Variant("tiny", "gguf Q4_1", _gguf(4, "--asym"), "gguf"),
    Variant("tiny", "gguf Q8_0", _gguf(8), "gguf"),
    Variant("tiny", "gguf F16", ("--format", "gguf", "--dtype", "f16", "--lossy"), "gguf", convert=True),
    Variant("tiny", "gguf BF16", ("--format", "gguf", "--dtype", "bf16"), "gguf", convert=True),
    Variant("tiny", "gguf F32", ("--format", "gguf", "--dtype", "f32"), "gguf", convert=True),
    *(Variant("tiny", f"gguf {name}", _type(name), "gguf") for name in ("Q5_0", "Q5_1", "IQ4_NL", "MXFP4")),
    *(Variant("wide", f"gguf {name}", _type(name), "gguf") for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "TQ1_0", "TQ2_0", "Q4_K_M", "Q3_K_S",
                                                                               "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_S")),
    Variant("wide", "gguf by size", ("--size", "700kB"), "gguf"),
    Variant("real", "packed 4 g64", _packed(4, 64, *RTN), "transformers"),
    Variant("real", "packed 4 g64 asym", _packed(4, 64, "--asym", *RTN), "decompress"),
    Variant("real", "gptq 4 g64", _gptq(4, 64, *RTN), "gptqmodel"),
    Variant("real", "gguf Q4_0", _gguf(4, *RTN), "gguf"),
    Variant("real", "hf dense, magnitude 50 %", ("--format", "hf", "--sparsity", 0.5, "--method", "magnitude"), "transformers", zeros=0.5),
]
