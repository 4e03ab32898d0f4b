"""`lm_eval --model local-completions` against `pare serve`: its perplexity is ours. The task is made here; nothing is fetched."""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from serving_clients import KEY, MODEL, PARE, ROOT, ClientTest

PAGES = ("docs/formats.md", "docs/reliability.md", "docs/getting-started.md")
TASK = """task: pare_pages
dataset_path: json
dataset_kwargs: {data_files: {test: "%s"}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""
CHOICES = """task: pare_choices
dataset_path: json
dataset_kwargs: {data_files: {test: "%s"}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list: [{metric: acc}]
"""
QUESTIONS = [("The capital of France is", ["Paris", "Berlin", "a spoon"], 0), ("Two plus two is", ["nine hundred", "four"], 1),
             ("The opposite of hot is", ["cold", "table", "green"], 0), ("Water is made of hydrogen and", ["music", "oxygen"], 1)]
LENGTH = 512  # tokens of a window


class LmEval(ClientTest):
    OPTIONS = ("--context", 2048, "--slots", 4, "--cache-memory", "256MB", "--precision", "f32")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory(prefix="pare-lm-eval-")
        cls.root = pathlib.Path(cls.folder.name)
        cls.pages = [(ROOT / page).read_text()[:6000] for page in PAGES]
        for name, task, rows in (("pages", TASK, [{"page": page} for page in cls.pages]),
                                 ("choices", CHOICES, [{"question": q, "choices": c, "right": r} for q, c, r in QUESTIONS])):
            (cls.root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            (cls.root / f"{name}.yaml").write_text(task % (cls.root / f"{name}.jsonl"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        super().tearDownClass()

    def lm_eval(self, task, **model_args):
        arguments = {"model": "local", "base_url": self.url + "/v1/completions", "tokenizer_backend": "remote", "num_concurrent": 4,
                     "auth_token": KEY,
                     "max_length": LENGTH, **model_args}
        environment = {**os.environ, "OPENAI_API_KEY": KEY, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
                       "HF_HOME": str(self.root / "hf")}
        out = self.root / f"out-{task}"
        done = subprocess.run([sys.executable, "-m", "lm_eval", "--model", "local-completions", "--tasks", task, "--include_path", self.root,
                               "--model_args", ",".join(f"{k}={v}" for k, v in arguments.items()), "--output_path", out],
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])
        return json.loads(next(out.rglob("results_*.json")).read_text())["results"][task]

    def scores(self, tokens):
        """Logprobs of all tokens but the first."""
        status, answer = self.server.post("/v1/completions", {"prompt": tokens, "max_tokens": 0, "logprobs": 0, "echo": True})
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]["logprobs"]["token_logprobs"][1:]

    def tokens(self, text):
        return self.server.post("/tokenize", {"content": text})[1]["tokens"]

    def test_the_perplexity_of_lm_eval_is_the_sum_of_our_logprobs(self):
        results = self.lm_eval("pare_pages")
        info = self.server.get("/tokenizer_info")[1]
        start = self.tokens(info["bos_token"] or info["eos_token"])
        total = 0.0
        for page in self.pages:
            # lm_eval's windows predict max_length - 2 tokens each: the first out of the token that starts a text, the others out
            # of the token before them. The last is filled up with tokens before it, which are not counted again.
            ids, width = self.tokens(page), LENGTH - 2
            for first in range(0, len(ids), width):
                last = min(first + width, len(ids))
                context = start if first == 0 else ids[max(0, last - width) - 1:first]
                total += sum(self.scores(context + ids[first:last])[-(last - first):])
        size = sum(len(page.encode()) for page in self.pages)
        ours = math.exp(-total / size)
        print(f"byte perplexity: lm_eval {results['byte_perplexity,none']:.9f}, ours {ours:.9f}")
        self.assertAlmostEqual(results["byte_perplexity,none"] / ours, 1, delta=1e-6)

    def test_our_logprobs_are_those_of_pare_eval(self):
        text = self.root / "text.txt"
        text.write_text(self.pages[0])
        done = subprocess.run([PARE, "eval", MODEL, "--text", text, "--length", "256", "--tokens", "1024", "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 4:
            self.skipTest("pare eval: a build without torch")
        self.assertEqual(done.returncode, 0, done.stderr)
        ids = self.tokens(self.pages[0])[:1024]
        scores = [score for first in range(0, len(ids), 256) for score in self.scores(ids[first:first + 256])]
        ours, theirs = math.exp(-sum(scores) / len(scores)), json.loads(done.stdout)["perplexity"]
        print(f"perplexity: pare eval {theirs:.6f}, served {ours:.6f}")
        self.assertAlmostEqual(theirs / ours, 1, delta=2e-4)  # keys and values are kept as f16 here

    def test_multiple_choice(self):
        self.assertGreaterEqual(self.lm_eval("pare_choices")["acc,none"], 0.75)


if __name__ == "__main__":
    unittest.main()
