"""bench/server_load.py on the tiny model: for LOAD_SECONDS: 60 in `make test`, 600 in `make test-long`."""
import os
import pathlib
import subprocess
import sys
import unittest

from support import PARE, PareTest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench" / "server_load.py"


class ServerLoad(PareTest):
    def test_64_clients_of_whom_one_in_ten_is_bad(self):
        seconds = os.environ.get("LOAD_SECONDS", "8")
        done = subprocess.run([sys.executable, "-B", SCRIPT, PARE, self.model, "--seconds", seconds, "--cache-memory", "8MB"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
