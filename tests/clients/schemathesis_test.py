"""schemathesis on /openapi.json: requests by the description, and by its opposite, answered as the description says."""
import os
import subprocess
import sys
import tempfile
import unittest

from serving_clients import KEY, ClientTest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


class Schemathesis(ClientTest):
    OPTIONS = ("--context", 256, "--slots", 4, "--max-tokens", 16, "--cache-memory", "256MB")

    def test_answers_are_as_described(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
                                   self.url + "/openapi.json", "--checks", CHECKS, "--max-examples", os.environ.get("EXAMPLES", "40"),
                                   "--header", "Authorization: Bearer " + KEY, "--seed", "1", "--workers", "1",
                                   "--exclude-path", "/", "--request-timeout", "60", "--phases", "examples,coverage,fuzzing", "--no-color"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, cwd=folder)
        print(done.stdout[-1500:])
        self.assertEqual(done.returncode, 0, done.stdout[-12000:])
        self.assertTrue(self.server.alive())


if __name__ == "__main__":
    unittest.main()
