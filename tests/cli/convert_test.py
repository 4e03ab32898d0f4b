"""pare convert from the outside: every source format into every target, and the table of docs/conversions.md from what happened.

    PARE=... MAKE_MODEL=... python tests/cli/convert_test.py            # fails when the table says something else
    PARE=... MAKE_MODEL=... python tests/cli/convert_test.py --update   # writes it

A cell is "lossy" when the conversion was refused with exit code 4, and with --lossy went through and changed values. Else it was
not refused, every tensor of the result was compared with the source, both written dense in F32, and the cell says what the linears
became.
"""
import array
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import struct
import sys
import unittest

from support import PareTest, bfloats, floats, halves, read_tensors, run, write_tensors

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conversions.md"
BEGIN, END = "<!-- from here on written by tests/cli/convert_test.py --update -->", "<!-- up to here -->"
SHOWN = "model.layers.0.self_attn.q_proj"


# --- layers as other software writes them: tensors, quantization_config, and one value by the format's definition

class Maker:
    """Random tensors of one linear [out, in]; `value(r, c)` is computed here, by hand."""

    def __init__(self, seed, out, width):
        self.rng = random.Random(seed)
        self.out, self.width = out, width

    def scales(self, count, digits=64):
        """Numbers of 7 bits, which every float type holds."""
        return [(self.rng.randrange(digits) + digits) / digits / 256 for _ in range(count)]


class Awq(Maker):
    form = "4-bit, groups of 128, asymmetric"
    config = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
    order = (0, 2, 4, 6, 1, 3, 5, 7)

    def tensors(self, name):
        groups = self.width // 128
        self.weight, self.zeros = self.rng.randbytes(self.width * self.out // 2), self.rng.randbytes(groups * self.out // 2)
        self.scale = [(self.rng.randrange(1024) + 1024) / 2 ** 20 for _ in range(groups * self.out)]
        return {name + ".qweight": ("I32", [self.width, self.out // 8], self.weight), name + ".qzeros": ("I32", [groups, self.out // 8], self.zeros),
                name + ".scales": ("F16", [groups, self.out], halves(self.scale))}

    def value(self, r, c):
        def nibble(data, row):
            word = struct.unpack_from("<I", data, 4 * (row * self.out // 8 + r // 8))[0]
            return word >> 4 * self.order.index(r % 8) & 15
        return (nibble(self.weight, c) - nibble(self.zeros, c // 128)) * self.scale[c // 128 * self.out + r]


def group_config(fmt, **weights):
    return {"quant_method": "compressed-tensors", "format": fmt, "quantization_status": "compressed", "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "symmetric": True, "dynamic": False, **weights}}}}


class Int8(Maker):
    form = "8-bit, one group a row, symmetric"
    config = group_config("int-quantized", type="int", strategy="channel")

    def tensors(self, name):
        self.weight, self.scale = self.rng.randbytes(self.out * self.width), self.scales(self.out)
        return {name + ".weight": ("I8", [self.out, self.width], self.weight), name + ".weight_scale": ("BF16", [self.out, 1], bfloats(self.scale)),
                name + ".input_scale": ("BF16", [1], bfloats([1]))}

    def value(self, r, c):
        return struct.unpack_from("<b", self.weight, r * self.width + c)[0] * self.scale[r]


class Fp8(Maker):
    form = "FP8, a scale a row"
    config = group_config("float-quantized", type="float", strategy="channel")
    numbers = bytes(0 if byte & 127 == 127 else byte for byte in range(256))  # without NaN

    def tensors(self, name):
        self.weight, self.scale = self.rng.randbytes(self.out * self.width).translate(self.numbers), self.scales(self.out)
        return {name + ".weight": ("F8_E4M3", [self.out, self.width], self.weight),
                name + ".weight_scale": ("BF16", [self.out, 1], bfloats(self.scale))}

    def code(self, r, c):
        byte = self.weight[r * self.width + c]
        exponent, fraction = byte >> 3 & 15, byte & 7
        return (-1 if byte & 128 else 1) * (fraction * 2.0 ** -9 if exponent == 0 else (8 + fraction) * 2.0 ** (exponent - 10))

    def value(self, r, c):
        return self.code(r, c) * self.scale[r]


class Fp8Blocks(Fp8):
    form = "FP8, a scale each 128 x 128"
    config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}

    def tensors(self, name):
        super().tensors(name)
        down, self.across = -(-self.out // 128), -(-self.width // 128)
        self.scale = self.scales(down * self.across)
        return {name + ".weight": ("F8_E4M3", [self.out, self.width], self.weight),
                name + ".weight_scale_inv": ("F32", [down, self.across], floats(self.scale))}

    def value(self, r, c):
        return self.code(r, c) * self.scale[r // 128 * self.across + c // 128]


class Nf4(Maker):
    form = "NF4, blocks of 64"
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}

    def tensors(self, name):
        self.weight, self.map = self.rng.randbytes(self.out * self.width // 2), [(i - 7.5) / 8 for i in range(16)]
        self.scale = self.scales(self.out * self.width // 64)
        state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [self.out, self.width]}).encode()
        return {name + ".weight": ("U8", [len(self.weight), 1], self.weight), name + ".weight.absmax": ("F32", [len(self.scale)], floats(self.scale)),
                name + ".weight.quant_map": ("F32", [16], floats(self.map)), name + ".weight.quant_state.bitsandbytes__nf4": ("U8", [len(state)], state)}

    def value(self, r, c):
        at = r * self.width + c
        return self.map[self.weight[at // 2] >> (4 if at % 2 == 0 else 0) & 15] * self.scale[at // 64]


class Aqlm(Maker):
    form = "AQLM, 2 x 8 bits for 1 x 8"
    config = {"quant_method": "aqlm", "in_group_size": 8, "out_group_size": 1, "num_codebooks": 2, "nbits_per_codebook": 8}

    def tensors(self, name):
        self.codes, self.scale = self.rng.randbytes(self.out * self.width // 8 * 2), self.scales(self.out)
        self.books = [self.rng.randrange(-64, 64) / 16 for _ in range(2 * 256 * 8)]
        return {name + ".codes": ("I8", [self.out, self.width // 8, 2], self.codes), name + ".codebooks": ("F16", [2, 256, 1, 8], halves(self.books)),
                name + ".scales": ("F16", [self.out, 1, 1, 1], halves(self.scale))}

    def value(self, r, c):
        at = (r * self.width // 8 + c // 8) * 2
        return self.scale[r] * sum(self.books[(book * 256 + self.codes[at + book]) * 8 + c % 8] for book in range(2))


class Bitmask(Maker):
    form = "kept of BF16"
    config = {"quant_method": "compressed-tensors", "format": "dense", "sparsity_config": {"format": "sparse-bitmask"}}

    def mask(self):
        return self.rng.randbytes(self.out * self.width // 8)

    def tensors(self, name):
        bits = self.mask()
        kept = [bin(byte).count("1") for byte in bits]
        row = self.width // 8
        starts, total = [], 0
        for r in range(self.out):
            starts.append(total)
            total += sum(kept[r * row:(r + 1) * row])
        self.kept = [self.rng.randrange(1, 128) / 64 for _ in range(total)]
        values = iter(self.kept)
        self.dense = [next(values) if bits[at // 8] >> at % 8 & 1 else 0.0 for at in range(self.out * self.width)]
        return self.layout(name, bits, starts)

    def layout(self, name, bits, starts):
        return {name + ".shape": ("I64", [2], struct.pack("<2q", self.out, self.width)), name + ".compressed": ("BF16", [len(self.kept)], bfloats(self.kept)),
                name + ".bitmask": ("U8", [self.out, self.width // 8], bits), name + ".row_offsets": ("I64", [self.out], struct.pack(f"<{self.out}q", *starts))}

    def value(self, r, c):
        return self.dense[r * self.width + c]


class TwoOfFour(Bitmask):
    form = "2:4 of BF16"
    config = {"quant_method": "compressed-tensors", "format": "dense", "sparsity_config": {"format": "sparse-24-bitmask"}}

    def mask(self):
        quads = (3, 5, 9, 6, 10, 12)
        return bytes(self.rng.choice(quads) | self.rng.choice(quads) << 4 for _ in range(self.out * self.width // 8))

    def layout(self, name, bits, starts):
        return {name + ".shape": ("I64", [2, 1], struct.pack("<2q", self.out, self.width)),
                name + ".compressed": ("BF16", [self.out, self.width // 2], bfloats(self.kept)), name + ".bitmask": ("U8", [self.out, self.width // 8], bits)}


# --- the table

# What others write, made above.
MADE = {"AWQ, 4 bits": Awq, "INT8 (`int-quantized`)": Int8, "FP8, a scale a row (`float-quantized`)": Fp8, "FP8 in blocks (`fp8`)": Fp8Blocks,
        "bitsandbytes NF4": Nf4, "AQLM 2x8": Aqlm, "`sparse-bitmask`": Bitmask, "`sparse-24-bitmask`": TwoOfFour}
# What Pare makes itself: from which source, and how.
CONVERTED = {
    "dense F16": ("dense BF16", ["--format", "hf", "--dtype", "f16"]),
    "GPTQ v1, 4 bits, groups of 128": ("dense BF16", ["--format", "gptq", "--bits", 4]),
    "GPTQ v2, 4 bits, groups of 32": ("dense BF16", ["--format", "gptq", "--bits", 4, "--group", 32, "--gptq-version", 2]),
    "GPTQ, 8 bits, rows": ("dense BF16", ["--format", "gptq", "--bits", 8, "--group", -1]),
    "GPTQ v2, 4 bits, zero points": ("AWQ, 4 bits", ["--format", "gptq"]),
    "dense F32": ("GPTQ v2, 4 bits, zero points", ["--format", "hf"]),
    "`pack-quantized`, 4 bits, groups of 128": ("GPTQ v1, 4 bits, groups of 128", ["--format", "compressed-tensors"]),
    "`pack-quantized`, 3 bits": ("dense BF16", ["--format", "compressed-tensors", "--bits", 3]),
    "`pack-quantized`, 5 bits": ("dense BF16", ["--format", "compressed-tensors", "--bits", 5]),
    **{f"GGUF {name}": ("dense BF16", ["--format", "gguf", "--type", name])
       for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS",
                    "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "MXFP4", "TQ1_0", "TQ2_0")},  # of IQ3_XXS and IQ2_S the shown linear differs: a mix
    "AQLM 3x4, made by Pare": ("dense BF16", ["--format", "aqlm", "--type", "3x4"]),
    "Pare's container, 4 bits": ("dense BF16", ["--format", "pare", "--bits", 4, "--group", 64]),
    "Pare's container, 2:4": ("`sparse-24-bitmask`", ["--format", "pare"]),
    "Pare's container, AQLM": ("AQLM 2x8", ["--format", "pare"]),
    "Pare's container, Q4_K": ("GGUF Q4_K", ["--format", "pare"]),
}
TARGETS = {"hf": ["--format", "hf"], "gptq": ["--format", "gptq"], "compressed-tensors": ["--format", "compressed-tensors"],
           "aqlm": ["--format", "aqlm"], "pare": ["--format", "pare"], "gguf": ["--format", "gguf"], "gguf Q4_0": ["--type", "Q4_0"], "gguf Q8_0": ["--type", "Q8_0"], "gguf Q4_K_M": ["--type", "Q4_K_M"]}
ORDER = ["dense BF16", "dense F16", "dense F32", *[name for name in CONVERTED if name.startswith("GPTQ")], "AWQ, 4 bits",
         *[name for name in CONVERTED if "pack" in name], *[name for name in MADE if name != "AWQ, 4 bits"],
         "AQLM 3x4, made by Pare", *[name for name in CONVERTED if name.startswith("GGUF")], *[name for name in CONVERTED if name.startswith("Pare")]]


def short(form):
    """A form as the table has it."""
    for long, brief in ((", symmetric", ""), (", asymmetric", " with zeros"), (", one group a row", " rows"), (", groups of ", " g")):
        form = form.replace(long, brief)
    return form


class Matrix(PareTest):
    update = False

    def dense(self, model):
        """name -> values of every tensor, in F32."""
        out = self.fresh("dense-" + pathlib.Path(model).name.replace(".", "-"))
        run("convert", model, "-o", out, "--format", "hf", "--dequantize", "--dtype", "f32")
        tensors = {name: (shape, array.array("f", data)) for name, (_, shape, data) in read_tensors(out).items()}
        shutil.rmtree(out)
        return tensors

    def form(self, model):
        tensors = json.loads(run("inspect", model, "--tensors", "--json").stdout)["tensors"]
        return short(next(tensor["form"] for tensor in tensors if tensor["name"] == SHOWN + ".weight"))

    def make(self, label, kind, base):
        """A folder as other software leaves it, checked here and there against its definition."""
        folder = self.root / f"made-{kind.__name__}"
        shutil.copytree(base, folder)
        tensors, made = {}, {}
        for seed, (name, entry) in enumerate(read_tensors(base).items()):
            if not name.endswith("_proj.weight"):
                tensors[name] = entry
                continue
            made[name] = kind(seed, *entry[1])
            tensors.update(made[name].tensors(name.removesuffix(".weight")))
        write_tensors(folder / "model.safetensors", tensors)
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = kind.config
        (folder / "config.json").write_text(json.dumps(config))
        shown = json.loads(run("inspect", folder, "--tensors", "--json").stdout)
        self.assertEqual(shown["format"], kind.config["quant_method"])
        self.assertTrue(all(tensor["readable"] for tensor in shown["tensors"]))
        self.assertEqual(sum(kind.form in tensor["form"] for tensor in shown["tensors"]), len(made), label)
        run("run", folder, "ab", "--raw", "-n", 2, "--temp", 0)
        values = self.dense(folder)
        rng = random.Random(label)
        for name, maker in made.items():
            for _ in range(50):
                r, c = rng.randrange(maker.out), rng.randrange(maker.width)
                self.assertEqual(values[name][1][r * maker.width + c], array.array("f", [maker.value(r, c)])[0], f"{label}: {name} [{r}, {c}]")
        return folder

    def sources(self):
        base = self.root / "base"
        os.system(f"'{os.environ['MAKE_MODEL']}' '{base}' --hidden 256 --intermediate 256 --layers 1")
        models = {"dense BF16": base}
        for label, kind in MADE.items():
            models[label] = self.make(label, kind, base)
        for number, (label, (source, options)) in enumerate(CONVERTED.items()):
            models[label] = self.root / (f"source-{number}.gguf" if "gguf" in options else f"source-{number}")
            run("convert", models[source], "-o", models[label], *options, "--lossy")
        return {label: models[label] for label in ORDER}

    def cell(self, number, model, target, expected):
        out = self.root / f"cell-{number}-{target.replace(' ', '-')}{'.gguf' if 'gguf' in target else ''}"
        words = ["convert", model, "-o", out, *TARGETS[target]]
        result = run(*words, check=None)
        lossy = result.returncode == 4
        if lossy:
            self.assertIn("--lossy", result.stderr)
            self.assertFalse(out.exists())
            run(*words, "--lossy", *(["--type", "1x4"] if target == "aqlm" else []))  # small codebooks: 2x8 takes sanitizers minutes
        else:
            self.assertEqual(result.returncode, 0, f"{words}: {result.stderr}")
        found = self.dense(out)
        self.assertEqual(found.keys(), expected.keys())
        same = all(found[name] == expected[name] for name in found)
        self.assertEqual(same, not lossy, f"{words}: {'said to be lossy, yet nothing changed' if lossy else 'values changed without a word'}")
        text = "lossy" if lossy else self.form(out)
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        return text

    def test_every_format_into_every_other_is_exact_or_says_what_is_lost(self):
        models = self.sources()
        some = bool(os.environ.get("SANITIZED"))  # a third of the table, which takes minutes there
        if some:
            models = dict(list(models.items())[::3])
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            dense = dict(zip(models, pool.map(self.dense, models.values())))
            cells = {(label, target): pool.submit(self.cell, number, model, target, dense[label])
                     for number, (label, model) in enumerate(models.items()) for target in TARGETS}
            cells = {place: cell.result() for place, cell in cells.items()}
        lines = ["| from | " + " | ".join(f"`{target}`" for target in TARGETS) + " |", "|---" * (len(TARGETS) + 1) + "|"]
        for label in models:
            lines.append(f"| {label} | " + " | ".join(cells[label, target] for target in TARGETS) + " |")
        table = "\n".join(lines)
        print(table)
        if some:
            return
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        written, after = rest.split(END)
        if self.update:
            PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
        else:
            self.assertEqual(written.strip(), table, f"{PAGE.name} says something else than what was measured: give --update")


class Convert(PareTest):
    def test_codebooks_are_fitted_when_asked_for_and_copied_as_they_are(self):
        first, second = self.fresh("first"), self.fresh("second")
        words = ["convert", self.model, "-o", first, "--format", "aqlm"]
        for wrong, message in ((["--type", "2by8"], "expected codebooks x bits"), (["--type", "1x16"], "codes of 1 to 12 bits are fitted"),
                               (["--type", "2x8g24"], "whole groups of 24"), (["--bits", 4], "aqlm has --type"),
                               (["--type", "2x8", "--dequantize"], "leave one out")):
            error = run(*words, *wrong, "--lossy", check=None)
            self.assertIn(error.returncode, (2, 4))
            self.assertIn(message, error.stderr)
        self.assertIn("21 x BF16 rounded to AQLM, 2 x 4 bits for 1 x 8", run(*words, "--type", "2x4", check=4).stderr)
        self.assertFalse(first.exists())
        plan = json.loads(run(*words, "--type", "2x4", "--lossy", "--dry-run", "--json").stdout)
        run(*words, "--type", "2x4", "--lossy")
        self.assertEqual(plan["bytes"], (first / "model.safetensors").stat().st_size)
        config = json.loads((first / "config.json").read_text())["quantization_config"]
        self.assertEqual(config, {"quant_method": "aqlm", "in_group_size": 8, "out_group_size": 1, "num_codebooks": 2, "nbits_per_codebook": 4,
                                  "linear_weights_not_to_quantize": ["lm_head", "lm_head.weight"]})
        run("convert", first, "-o", second, "--format", "aqlm")
        self.assertEqual((first / "model.safetensors").read_bytes(), (second / "model.safetensors").read_bytes())

    def test_a_damaged_container_of_pares_own_is_named(self):
        whole = self.fresh("whole")
        run("convert", self.model, "-o", whole, "--format", "pare", "--bits", 4, "--group", 32, "--lossy")
        file = whole / "model.safetensors"
        data = file.read_bytes()
        for old, new, message in ((b'pare_format":"1"', b'pare_format":"7"', "pare_format 7, this Pare reads 1"),
                                  (b'\\"bits\\":4', b'\\"bits\\":5', "q_proj.weight.codes: shape [64, 32], expected [64, 40]"),
                                  (b'grouped_ints', b'grouped_oats', "base \"grouped_oats\" is not known"),
                                  (b'\\"group\\":32', b'\\"group\\":-1', '"group" is no integer from 1')):
            self.assertIn(old, data)
            file.write_bytes(data.replace(old, new))
            result = run("run", whole, "ab", "--raw", "-n", 1, check=None)
            self.assertIn(result.returncode, (3, 4), message)
            self.assertIn(message, result.stderr)
        file.write_bytes(data[:-100])
        self.assertIn("model.safetensors", run("inspect", whole, check=3).stderr)

    def test_a_name_that_ends_in_gguf_is_one_file_and_a_folder_of_one_stands_for_it(self):
        folder = self.fresh("folder")
        folder.mkdir()
        run("convert", self.model, "-o", folder / "a.gguf")
        self.assertEqual([path.name for path in folder.iterdir()], ["a.gguf"])
        self.assertEqual(json.loads(run("inspect", folder, "--json").stdout)["tokenizer"]["supported"], True)
        run("convert", folder, "-o", self.fresh("back"), "--format", "hf")
        run("convert", self.model, "-o", folder / "b.gguf", "--type", "Q8_0", "--lossy")
        error = run("inspect", folder, check=3).stderr
        self.assertIn("holds 2 GGUF models (a.gguf, b.gguf)", error)

    def test_a_gguf_in_parts_is_the_same_model_everywhere(self):
        folder = self.fresh("folder")
        folder.mkdir()
        whole = folder / "m.Q8_0.gguf"
        run("convert", self.model, "-o", whole, "--type", "Q8_0", "--lossy")
        words = ["convert", whole, "-o", folder / "parts", "--format", "gguf", "--split", "40kB"]
        plan = json.loads(run(*words, "--dry-run", "--json").stdout)
        self.assertFalse((folder / "parts").exists())
        said = run(*words).stderr
        parts = sorted((folder / "parts").glob("*.gguf"))
        self.assertEqual([{"name": p.name, "bytes": p.stat().st_size} for p in parts], plan["files"])
        self.assertEqual(parts[0].name, f"m.Q8_0-00001-of-{len(parts):05}.gguf", "what is only cut keeps its name")
        for file in plan["files"]:
            self.assertIn(f"{file['bytes']} bytes: {file['name']}\n", said)
            self.assertLessEqual(file["bytes"], 40000)
        merged, copied = folder / "merged.gguf", folder / "copied.gguf"
        run("convert", parts[1], "-o", merged)
        run("convert", whole, "-o", copied)
        self.assertEqual(merged.read_bytes(), copied.read_bytes())
        ask = ("--raw", "-n", 4, "--temp", 0)
        for model in (folder / "parts", *parts):
            self.assertEqual(json.loads(run("inspect", model, "--json").stdout)["bytes"], plan["bytes"])
            self.assertEqual(run("run", model, "ab", *ask).stdout, run("run", whole, "ab", *ask).stdout)
            self.assertEqual(run("tokenize", model, "--text", "ab").stdout, run("tokenize", whole, "--text", "ab").stdout)
        beside = folder / "beside.gguf"
        result = json.loads(run("convert", whole, "-o", beside, "--split", "40kB", "--json").stdout)
        self.assertEqual(result["path"], str(folder / f"beside-00001-of-{len(parts):05}.gguf"))
        self.assertIn("beside-00001-of-", run("convert", whole, "-o", beside, "--split", "40kB", check=2).stderr)
        run("inspect", result["path"])

    def test_parts_that_do_not_go_together_are_named(self):
        folder = self.fresh("folder")
        run("convert", self.model, "-o", folder, "--format", "gguf", "--split", "60kB")
        parts = sorted(folder.glob("*.gguf"))
        second, data = parts[1], parts[1].read_bytes()
        shutil.copy(parts[2], second)
        self.assertIn(f"{second.name}: is named part 2 of", run("inspect", folder, check=3).stderr)
        second.unlink()
        for command in (["inspect", folder], ["run", parts[0], "a"], ["convert", parts[2], "-o", self.fresh("out"), "--format", "hf"], ["tokenize", parts[0], "--text", "a"]):
            self.assertIn(f"{second.name}: missing, part 2 of", run(*command, check=3).stderr)
        second.write_bytes(data)
        parts[0].unlink()
        for model in (folder, second):
            self.assertIn(f"{parts[0].name}: missing, the first part", run("inspect", model, check=3).stderr)

    def test_losses_are_listed_and_nothing_is_written(self):
        out = self.fresh("out")
        result = run("convert", self.model, "-o", out, "--type", "Q4_0", check=4)
        self.assertIn("BF16 rounded to Q4_0 (model.", result.stderr)
        self.assertIn("Give --lossy", result.stderr)
        self.assertFalse(out.exists())
        plan = json.loads(run("convert", self.model, "-o", out, "--type", "Q4_0", "--lossy", "--dry-run", "--json").stdout)
        self.assertFalse(plan["written"])
        self.assertTrue(any("rounded to Q4_0" in change for change in plan["changes"]))
        run("convert", self.model, "-o", out, "--type", "Q4_0", "--lossy")
        self.assertEqual([(out / file["name"]).stat().st_size for file in plan["files"]], [file["bytes"] for file in plan["files"]])

    def test_options_that_contradict_each_other_are_refused(self):
        for words, message in ((["--format", "hf", "--type", "Q4_0"], "a type of GGUF"), (["--type", "Q4_9"], "did you mean"),
                               (["--format", "gguf", "--bits", 4], "gguf has --type"), (["--format", "gptq", "--group", 64], "goes with --bits"),
                               (["--format", "hf", "--gptq-version", 1], "goes with --format gptq"), ([], "Give --format"),
                               (["--type", "Q4_0", "--dequantize"], "leave one out")):
            self.assertIn(message, run("convert", self.model, "-o", self.fresh("out"), *words, check=2).stderr)
        self.assertIn("cannot be of format hf", run("convert", self.model, "-o", self.fresh("x.gguf"), "--format", "hf", check=2).stderr)


if __name__ == "__main__":
    if "--update" in sys.argv:
        sys.argv.remove("--update")
        Matrix.update = True
    unittest.main()
