"""curl against `pare serve`: plain, streamed, with and without the key."""
import json
import shutil
import subprocess
import time
import unittest

from serving_clients import KEY, ClientTest

BODY = json.dumps({"messages": [{"role": "system", "content": "You answer in one short sentence."},
                                {"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 40})


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class Curl(ClientTest):
    def curl(self, path, *words, key=KEY):
        bearer = ["-H", "Authorization: Bearer " + key] if key else []
        done = subprocess.run(["curl", "-sS", *bearer, *words, self.url + path], stdout=subprocess.PIPE, check=True, timeout=60)
        return done.stdout.decode()

    def test_plain(self):
        self.assertEqual(json.loads(self.curl("/health", key=None)), {"status": "ok"})
        answer = json.loads(self.curl("/v1/chat/completions", "-H", "Content-Type: application/json", "-d", BODY))
        self.assertIn("Paris", answer["choices"][0]["message"]["content"])
        # without the header curl says application/x-www-form-urlencoded
        self.assertEqual(json.loads(self.curl("/v1/chat/completions", "-d", BODY))["choices"], answer["choices"])
        self.assertIn("pare_generated_tokens_total", self.curl("/metrics"))
        self.assertTrue(self.curl("/", "-I").startswith("HTTP/1.1 200"))

    def test_events_come_one_by_one(self):
        body = json.dumps({**json.loads(BODY), "stream": True})
        process = subprocess.Popen(["curl", "-sSN", "-H", "Authorization: Bearer " + KEY, "-d", body, self.url + "/v1/chat/completions"],
                                   stdout=subprocess.PIPE, text=True)
        times, lines = [], []
        for line in process.stdout:
            times.append(time.monotonic())
            lines.append(line.rstrip("\n"))
        self.assertEqual(process.wait(), 0)
        process.stdout.close()
        data = [line for line in lines if line]
        self.assertTrue(all(line.startswith("data: ") for line in data))
        self.assertEqual(data[-1], "data: [DONE]")
        self.assertGreater(len(data), 6)
        self.assertGreater(times[-1] - times[0], 0.02)  # not all at the end

    def test_bearer(self):
        for key in (None, "wrong"):
            status = self.curl("/v1/models", "-o", "/dev/null", "-w", "%{http_code}", key=key)
            self.assertEqual(status, "401")
        self.assertEqual(json.loads(self.curl("/v1/models", key="wrong"))["error"]["code"], "invalid_api_key")

    def test_a_large_body_with_expect_is_refused_before_it_is_sent(self):
        done = subprocess.run(["curl", "-sS", "-H", "Authorization: Bearer " + KEY, "-o", "/dev/null", "-w", "%{http_code} %{size_upload}",
                               "--data-binary", "@-", self.url + "/v1/completions"], input=b"x" * 20_000_000, stdout=subprocess.PIPE, timeout=60)
        status, sent = done.stdout.split()
        self.assertEqual(status, b"413")
        self.assertLess(int(sent), 1_000_000)


if __name__ == "__main__":
    unittest.main()
