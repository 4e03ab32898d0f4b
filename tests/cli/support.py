"""What the command-line tests share: a tiny model, a text, and running pare."""
import hashlib
import json
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
