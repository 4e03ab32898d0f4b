"""What the command-line tests share: a tiny model, a text, and running pare."""
import hashlib
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

PARE = os.environ["PARE"]
MAKE_MODEL = os.environ["MAKE_MODEL"]


def run(*words, check=0, **options):
    """Runs pare; `check` is the exit code to expect (None: any)."""
    result = subprocess.run([PARE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, **options)
    if check is not None and result.returncode != check:
        raise AssertionError(f"pare {' '.join(map(str, words))}\nexit {result.returncode}, expected {check}\n{result.stdout}\n{result.stderr}")
    return result


def make_text(path, characters=20000, seed=1):
    rng = random.Random(seed)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 8))) for _ in range(200)]
    text = " ".join(rng.choice(words) for _ in range(characters // 5))
    path.write_text(text[:characters])


def weight_hashes(folder):
    """SHA-256 of every file whose bytes are promised: all but the reports, which hold times."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pathlib.Path(folder).iterdir())
            if not p.name.endswith(("report.json", "report.html"))}


def read_safetensors_header(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return 8 + size, json.loads(file.read(size))


def read_tensors(folder):
    """name -> (dtype, shape, bytes), of a folder with one file."""
    path = pathlib.Path(folder) / "model.safetensors"
    begin, header = read_safetensors_header(path)
    data = path.read_bytes()
    return {name: (entry["dtype"], entry["shape"], data[begin + entry["data_offsets"][0]:begin + entry["data_offsets"][1]])
            for name, entry in header.items() if name != "__metadata__"}


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def halves(values):
    return struct.pack(f"<{len(values)}e", *values)


def bfloats(values):
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


GGUF_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
GGUF_BLOCKS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}  # values and bytes of a block


def read_gguf(path):
    """Metadata, and name -> (type, shape as torch has it, bytes), by the format's definition."""
    data, at = pathlib.Path(path).read_bytes(), 4

    def take(form):
        nonlocal at
        value = struct.unpack_from("<" + form, data, at)[0]
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size:at].decode()

    def value(kind):
        if kind == 9:
            kind, count = take("I"), take("Q")
            return [value(kind) for _ in range(count)]
        return text() if kind == 8 else take(GGUF_SCALARS[kind])

    assert data[:4] == b"GGUF" and take("I") == 3
    tensors, keys = take("Q"), take("Q")
    metadata = {text(): value(take("I")) for _ in range(keys)}
    entries = [(text(), [take("Q") for _ in range(take("I"))], take("I"), take("Q")) for _ in range(tensors)]
    begin, found = at + -at % 32, {}
    for name, dims, kind, offset in entries:
        word, values, size = GGUF_BLOCKS[kind]
        count = math.prod(dims) // values * size
        found[name] = (word, dims[::-1], data[begin + offset:begin + offset + count])
    return metadata, found


class PareTest(unittest.TestCase):
    """A folder of its own with `model` and `text.txt`; the cache is inside too."""

    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="pare-test-"))
        os.environ["PARE_CACHE"] = str(cls.root / "cache")
        cls.model = cls.root / "model"
        subprocess.run([MAKE_MODEL, str(cls.model)], check=True)
        cls.text = cls.root / "text.txt"
        make_text(cls.text)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root, ignore_errors=True)

    def fresh(self, name):
        path = self.root / f"{self.id().split('.')[-1]}-{name}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def calibration(self):
        return ["--calib", self.text, "--samples", 8, "--length", 64, "--eval-tokens", 256, "--eval-length", 64]
