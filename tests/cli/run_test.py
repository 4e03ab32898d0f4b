"""pare run and pare bench from the outside, on a small random model."""
import json
import math
import os
import subprocess
import unittest

from support import PARE, PareTest, run


class Run(PareTest):
    def test_greedy_text_is_the_same_for_any_threads_and_isa(self):
        texts = set()
        for options in (["-t", 1], ["-t", 2], ["-t", 3, "--pin"]):
            texts.add(run("run", self.model, "--raw", "Some words", "--temp", 0, "-n", 20, *options).stdout)
        self.assertEqual(len(texts), 1)
        self.assertGreater(len(texts.pop()), 5)

    def test_a_seed_gives_its_text_again(self):
        def text(seed):
            return run("run", self.model, "--raw", "Some words", "-n", 30, "--temp", 1.5, "--seed", seed).stdout
        self.assertEqual(text(1), text(1))
        self.assertNotEqual(text(1), text(2))

    def test_lines_of_standard_input_are_turns(self):
        done = subprocess.run([PARE, "run", str(self.model), "--temp", "0", "-n", "5", "-v"], input="one\ntwo\n", capture_output=True,
                              text=True, errors="replace", timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("tokens of prompt"), 2)
        self.assertIn("already computed", done.stderr)

    def test_wrong_values_are_named(self):
        for options, word in ((["--temp", "nan"], "temp"), (["--top-p", 2], "top"), (["--context", 1 << 23], "--context"),
                              (["--cache", "f8"], "--cache")):
            done = run("run", self.model, "--raw", "x", *options, check=2)
            self.assertIn(word, done.stderr)

    def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(self):
        done = run("run", self.model, "--raw", "word " * 100, "--context", 64, check=3)
        self.assertIn("64", done.stderr)
        self.assertRegex(done.stderr, r"\d{3} tokens")

    def test_bytes_that_are_no_text_are_taken_as_the_tokenizer_takes_them(self):
        done = subprocess.run([PARE, "run", str(self.model), "--raw", b"\xff\xfe ok", "-n", "3"], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)


class Bench(PareTest):
    def test_a_model(self):
        report = json.loads(run("bench", self.model, "-p", 16, "-n", 4, "-t", "1,2", "--batch", "1,2", "--repeat", 1, "--json").stdout)
        self.assertEqual(len(report["results"]), 4)
        for result in [report, *report["results"]]:
            for key in ("prefill_tokens_per_s", "decode_tokens_per_s", "rss_bytes", "load_s", "first_token_s", "bandwidth_bytes_per_s"):
                self.assertTrue(math.isfinite(result[key]) and result[key] > 0, (key, result[key]))

    def test_kernels(self):
        report = json.loads(run("bench", "kernels", "--shape", "48x256", "--weights", "int4,Q4_K,F16", "--tokens", "1,3", "--seconds", 0.01,
                                "--json").stdout)
        self.assertEqual([(r["weight"], r["tokens"]) for r in report["results"]],
                         [(w, t) for w in ("int4", "Q4_K", "F16") for t in (1, 3)])

    def test_an_unknown_isa_is_refused(self):
        done = subprocess.run([PARE, "bench", "kernels", "--shape", "16x32", "--seconds", "0.01"], capture_output=True, text=True,
                              env={"PARE_ISA": "mmx"}, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("baseline", done.stderr)

    def test_shapes_and_models_that_make_no_sense(self):
        self.assertIn("smollm2", run("bench", "kernels", "--shape", "12xx", check=2).stderr)
        self.assertIn("no such file", run("bench", "/nowhere/model.gguf", check=3).stderr)


class Tune(PareTest):
    def setUp(self):
        self.cache = self.fresh("cache")

    def pare(self, *words, check=0):
        return run(*words, check=check, env={**os.environ, "PARE_CACHE": str(self.cache)})

    def test_what_it_finds_changes_no_word(self):
        ask = ("run", self.model, "--raw", "Some words", "--temp", 0, "-n", 20, "-t", 2)
        before = self.pare(*ask).stdout
        report = json.loads(self.pare("tune", self.model, "-t", 2, "--seconds", 0.01, "--best", 2, "--json").stdout)
        self.assertTrue((self.cache / "tuning.json").is_file())
        self.assertGreater(len(report["trials"]), 6)
        for trial in report["trials"]:
            self.assertTrue(trial["predicted_s"] > 0 and (trial["measured_s"] is None or trial["measured_s"] > 0), trial)
        for tokens in (1, 8, 256):
            taken = [t for t in report["trials"] if t["tokens"] == tokens and t["taken"]]
            self.assertEqual(len(taken), len({(t["layout"], t["rows"], t["cols"]) for t in report["trials"]}))
        self.assertEqual(self.pare(*ask).stdout, before)

    def test_a_damaged_file_is_said_and_left_out(self):
        self.cache.mkdir()
        (self.cache / "tuning.json").write_text("{ not json")
        done = self.pare("run", self.model, "--raw", "Some words", "-n", 2)
        self.assertIn("pare tune", done.stderr)

    def test_shapes_and_kinds_by_name(self):
        text = self.pare("tune", "--shape", "48x256", "--weights", "int4,F16-mask", "--seconds", 0.01).stdout
        self.assertIn("panels of 4-bit codes", text)
        self.assertIn("sparse rows of F16", text)
        for words in (["--shape", "48x256", "--weights", "int9"], ["--shape", "48x256", "--weights", "int4--g"], [], ["--shape", "0x5"]):
            self.pare("tune", *words, check=2)
        self.assertFalse(json.loads((self.cache / "tuning.json").read_text())["products"] == [])


if __name__ == "__main__":
    unittest.main()
