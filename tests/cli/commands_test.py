"""The smaller commands from the outside: inspect, eval, convert, report, and what is said of a wrong command line."""
import json
import resource
import shutil
import struct
import unittest

from support import PareTest, read_safetensors_header, run


def change_tensor(folder, name, value):
    """Every value of one BF16 tensor, by its bits."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    begin, header = read_safetensors_header(path)
    first, last = header[name]["data_offsets"]
    data[begin + first:begin + last] = struct.pack("<H", value) * ((last - first) // 2)
    path.write_bytes(data)


class Inspect(PareTest):
    def test_a_dense_model_has_its_tokenizer_and_no_sparsity(self):
        model = json.loads(run("inspect", self.model, "--tensors", "--json").stdout)
        self.assertEqual(model["tokenizer"], {"supported": True, "kind": "byte-level BPE", "tokens": 256})
        self.assertIsNone(model["sparsity"])
        for part in model["forms"] + model["tensors"]:
            self.assertIsNone(part["sparsity"], "zeros of dense values were not counted")
        text = run("inspect", self.model).stdout
        self.assertIn("tokenizer     byte-level BPE, 256 tokens", text)
        self.assertNotIn("removed", text)

    def test_a_pruned_model_says_how_much_is_gone(self):
        out = self.fresh("out")
        run("compress", self.model, "-o", out, "--method", "magnitude", "--sparsity", "0.5", "--format", "compressed-tensors",
            "--max-kl", 100, *self.calibration())
        model = json.loads(run("inspect", out, "--tensors", "--json").stdout)
        pruned = [tensor for tensor in model["tensors"] if tensor["sparsity"] is not None]
        self.assertEqual(len(pruned), 21)
        elements = removed = 0
        for tensor in pruned:
            self.assertAlmostEqual(tensor["sparsity"], 0.5, delta=0.01)
            values = tensor["shape"][0] * tensor["shape"][1]
            elements, removed = elements + values, removed + tensor["sparsity"] * values
        self.assertAlmostEqual(model["sparsity"], removed / model["parameters"], places=9)
        self.assertAlmostEqual(sum((form["sparsity"] or 0) * form["parameters"] for form in model["forms"]), removed, places=3)
        text = run("inspect", out, "--tensors").stdout
        self.assertIn("50.0 % removed", text)

    def test_a_tokenizer_that_cannot_be_read_is_named(self):
        folder = self.fresh("model")
        shutil.copytree(self.model, folder)
        (folder / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
        model = json.loads(run("inspect", folder, "--json").stdout)
        self.assertFalse(model["tokenizer"]["supported"])
        self.assertIn("Unigram", model["tokenizer"]["why"])
        self.assertIn("tokenizer     NOT SUPPORTED: ", run("inspect", folder).stdout)


class Eval(PareTest):
    def test_the_model_may_stand_after_the_text(self):
        options = ["--length", 64, "--tokens", 256, "--json"]
        before = json.loads(run("eval", self.model, "--text", self.text, *options).stdout)
        self.assertEqual(json.loads(run("eval", "--text", self.text, self.model, *options).stdout), before)
        twice = json.loads(run("eval", "--text", self.text, "--text", self.text, self.model, "--length", 64, "--json").stdout)
        once = json.loads(run("eval", "--text", self.text, self.model, "--length", 64, "--json").stdout)
        self.assertGreater(twice["tokens"], 1.9 * once["tokens"])

    def test_a_perplexity_that_is_not_finite_is_a_goal_missed(self):
        folder = self.fresh("model")
        shutil.copytree(self.model, folder)
        change_tensor(folder, "model.norm.weight", 0x7F00)  # 1.7e38
        result = run("eval", folder, "--text", self.text, "--length", 64, "--tokens", 256, "--json", check=6)
        self.assertIsNone(json.loads(result.stdout)["perplexity"])
        self.assertIn("not finite", result.stderr)

    def test_out_of_memory_is_one_line(self):
        def little_memory():
            resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))  # enough for shorter windows
        long = self.fresh("long.txt")
        long.write_text("a" * (1 << 20))
        result = run("eval", self.model, "--text", long, "--length", 1 << 20, "--threads", 1, check=5,
                     preexec_fn=little_memory)
        self.assertEqual(result.stderr, "pare: out of memory; give a shorter --length\n")


class Names(PareTest):
    def test_an_unknown_word_gets_the_nearest_known_one(self):
        self.assertIn("did you mean --bits?", run("compress", self.model, "-o", "x", "--bist", 4, check=2).stderr)
        self.assertIn("did you mean inspect?", run("inspct", self.model, check=2).stderr)
        self.assertNotIn("did you mean", run("eval", self.model, check=2).stderr)
        self.assertNotIn("did you mean", run("--help").stderr)

    def test_every_command_that_writes_has_out(self):
        dense, page, small = self.fresh("dense"), self.fresh("page.html"), self.fresh("small")
        run("convert", self.model, "--out", dense, "--format", "hf")
        self.assertTrue((dense / "config.json").exists())
        run("compress", self.model, "--out", small, "--method", "rtn", "--bits", 8, *self.calibration())
        run("report", small, "--out", page)
        self.assertTrue(page.read_text().startswith("<!"))


if __name__ == "__main__":
    unittest.main()
