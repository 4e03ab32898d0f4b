"""pare calibrate, and pare compress --imatrix, from the outside."""
import json
import signal
import struct
import subprocess
import time
import unittest

from support import MAKE_MODEL, PARE, PareTest, make_text, run, weight_hashes


def read_old_format(path):
    """name -> (calls, values), by hand."""
    data, at, entries = path.read_bytes(), 4, {}
    for _ in range(struct.unpack_from("<i", data)[0]):
        length = struct.unpack_from("<i", data, at)[0]
        name = data[at + 4:at + 4 + length].decode()
        calls, count = struct.unpack_from("<ii", data, at + 4 + length)
        at += 12 + length
        entries[name] = (calls, struct.unpack_from(f"<{count}f", data, at))
        at += 4 * count
    chunks, length = struct.unpack_from("<ii", data, at)
    return entries, chunks, data[at + 8:at + 8 + length].decode()


def write_old_format(path, entries):
    data = struct.pack("<i", len(entries))
    for name, (calls, values) in entries.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack(f"<ii{len(values)}f", calls, len(values), *values)
    path.write_bytes(data)


class Calibrate(PareTest):
    def text_options(self):
        return ["--calib", self.text, "--samples", 8, "--length", 64]

    def matrix(self, name="imatrix.gguf"):
        out = self.fresh(name)
        run("calibrate", self.model, "-o", out, *self.text_options())
        return out

    def compress(self, matrix, *options, check=0, out=None):
        out = out or self.fresh("out")
        result = run("compress", self.model, "-o", out, "--type", "Q4_0", "--imatrix", matrix, "--eval-text", self.text, "--eval-tokens", 256,
                     "--eval-length", 64, "--max-kl", 100, *options, check=check)
        return out, result

    def test_every_linear_and_the_head_have_an_entry_in_both_formats(self):
        entries, chunks, dataset = read_old_format(self.matrix("imatrix.dat"))
        kinds = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
        self.assertEqual(set(entries), {f"blk.{i}.{kind}.weight" for i in range(3) for kind in kinds} | {"token_embd.weight"})
        self.assertEqual((chunks, dataset), (8, "text.txt"))
        for name, (calls, values) in entries.items():
            self.assertEqual(calls, 8)
            self.assertEqual(len(values), 128 if "ffn_down" in name else 64)
            self.assertTrue(all(value > 0 for value in values), name)
        self.assertIn("blk.2.ffn_down.weight.in_sum2", self.matrix().read_bytes().decode("latin1"))

    def test_same_bytes_on_one_and_two_threads(self):
        first, second = self.fresh("1.gguf"), self.fresh("2.gguf")
        run("calibrate", self.model, "-o", first, *self.text_options(), "--threads", 1)
        figures = json.loads(run("calibrate", self.model, "-o", second, *self.text_options(), "--threads", 2, "--json").stdout)
        self.assertEqual(first.read_bytes(), second.read_bytes())
        self.assertEqual((figures["entries"], figures["tokens"]), (22, 512))

    def test_spilled_activations_change_no_byte(self):
        def plan(memory):  # wanda, in one pass, takes the memory that this takes
            return json.loads(run("compress", self.model, "--dry-run", "--json", "--sparsity", 0.5, "--method", "wanda", "--one-pass", "--format", "hf",
                                  *options, "--eval-tokens", 0, "--memory", memory).stdout)
        options = ["--calib", self.text, "--samples", 32, "--length", 64]
        peak = plan("8GB")["peak_bytes"]
        limit = next(peak - step for step in range(1000, 2_000_000, 20_000) if plan(peak - step)["spill_activations"])
        first, second = self.fresh("1.gguf"), self.fresh("2.gguf")
        run("calibrate", self.model, "-o", first, *options)
        run("calibrate", self.model, "-o", second, *options, "--memory", limit)
        self.assertEqual(first.read_bytes(), second.read_bytes())

    def test_the_matrix_weighs_plain_rounding_and_needs_no_calibration(self):
        matrix = self.matrix()
        weighed, _ = self.compress(matrix, "--method", "rtn")
        report = json.loads((weighed / "report.json").read_text())
        self.assertEqual(report["recipe"]["imatrix"], str(matrix))
        self.assertNotIn("calibration", report)
        self.assertIn(f"rounded by the importance matrix {matrix}, of 8 windows of 64 tokens", report["warnings"])
        plain = self.fresh("plain")
        run("compress", self.model, "-o", plain, "--type", "Q4_0", "--method", "rtn", "--eval-tokens", 0)
        again = self.fresh("again")
        run("compress", self.model, "-o", again, "--recipe", weighed / "recipe.yaml", "--eval-tokens", 0)
        file = next(name for name in weight_hashes(weighed) if name.endswith(".gguf"))
        self.assertNotEqual(weight_hashes(weighed)[file], weight_hashes(plain)[file])
        self.assertEqual(weight_hashes(weighed)[file], weight_hashes(again)[file])

    def test_an_input_that_matters_a_thousand_times_more_is_rounded_better(self):
        entries, _, _ = read_old_format(self.matrix("imatrix.dat"))
        errors = []
        for factor in (1e-3, 1e3):
            matrix = self.fresh(f"{factor}.dat")
            write_old_format(matrix, {name: (1, [factor if i % 2 else 1.0 for i in range(len(values))]) for name, (_, values) in entries.items()})
            out, _ = self.compress(matrix, "--method", "rtn")
            dense = self.fresh(f"{factor}-dense")
            run("convert", next(out.glob("*.gguf")), "-o", dense, "--format", "hf", "--dequantize", "--dtype", "f32")
            original = self.fresh(f"{factor}-original")
            run("convert", self.model, "-o", original, "--format", "hf", "--dtype", "f32")
            name = "model.layers.1.mlp.gate_proj.weight"
            old, new = (self.values(folder / "model.safetensors", name) for folder in (original, dense))
            errors.append(sum((a - b) ** 2 for a, b in list(zip(old, new))[1::2]))
        self.assertLess(errors[1], 0.9 * errors[0], "odd inputs, at first unimportant, then important")

    def values(self, path, name):
        data = path.read_bytes()
        size = struct.unpack_from("<Q", data)[0]
        entry = json.loads(data[8:8 + size])[name]
        self.assertEqual(entry["dtype"], "F32")
        begin, end = entry["data_offsets"]
        return struct.unpack_from(f"<{(end - begin) // 4}f", data, 8 + size + begin)

    def test_gptq_and_other_methods_refuse_a_matrix_and_say_why(self):
        matrix = self.matrix()
        _, refused = self.compress(matrix, check=2)
        self.assertIn("gptq needs how all inputs of a layer go together", refused.stderr)
        self.assertIn("--method rtn", refused.stderr)
        refused = run("compress", self.model, "-o", self.fresh("x"), "--bits", 4, "--method", "rtn", "--imatrix", matrix, check=2)
        self.assertIn("without a type", refused.stderr)
        refused = run("compress", self.model, "-o", self.fresh("x"), "--size", "1MB", "--method", "rtn", "--imatrix", matrix, check=2)
        self.assertIn("--imatrix is not for --size", refused.stderr)

    def test_all_that_is_wrong_with_a_matrix_is_said_at_once(self):
        entries, _, _ = read_old_format(self.matrix("imatrix.dat"))
        entries.pop("blk.0.attn_q.weight")
        entries["blk.1.ffn_up.weight"] = (8, [1.0, float("nan")] * 32)
        entries["blk.1.attn_k.weight"] = (8, [1.0, -1.0] * 32)
        entries["blk.2.attn_v.weight"] = (8, [1.0] * 63)
        entries["blk.2.attn_q.weight"] = (8, [0.0] * 64)
        entries["blk.7.attn_q.weight"] = (8, [1.0] * 64)
        matrix = self.fresh("bad.dat")
        write_old_format(matrix, entries)
        out, refused = self.compress(matrix, "--method", "rtn", check=3)
        for word in ("missing, and to be rounded: blk.0.attn_q.weight", "NaN where squares are summed: blk.1.ffn_up.weight input 1",
                     "a sum of squares below 0: blk.1.attn_k.weight input 1", "values for 63 inputs where the model has 64 inputs: blk.2.attn_v.weight",
                     "all values are 0: blk.2.attn_q.weight", "not in this model: blk.7.attn_q.weight", "pare calibrate"):
            self.assertIn(word, refused.stderr)
        self.assertFalse(out.exists())
        _, planned = self.compress(matrix, "--method", "rtn", "--dry-run", check=3)
        self.assertIn("NaN where", planned.stderr)

    def test_the_matrix_of_another_model_is_refused_and_a_missing_embedding_is_a_note(self):
        other = self.fresh("other")
        subprocess.run([MAKE_MODEL, str(other), "--hidden", "128", "--layers", "4"], check=True)
        matrix = self.fresh("other.gguf")
        run("calibrate", other, "-o", matrix, *self.text_options())
        _, refused = self.compress(matrix, "--method", "rtn", check=3)
        self.assertIn("values for 128 inputs where the model has 64 inputs (19 tensors): ", refused.stderr)
        self.assertIn("not in this model (7 tensors): blk.3.attn_k.weight", refused.stderr)
        entries, _, _ = read_old_format(self.matrix("imatrix.dat"))
        entries.pop("token_embd.weight")
        bare = self.fresh("bare.dat")
        write_old_format(bare, entries)
        _, planned = self.compress(bare, "--method", "rtn", "--dry-run")
        self.assertIn("token_embd.weight", planned.stdout)

    def test_what_is_no_matrix_is_refused(self):
        self.assertIn("no importance matrix", self.compress(self.text, "--method", "rtn", check=3)[1].stderr)
        gguf = self.compress(self.matrix(), "--method", "rtn")[0]
        refused = self.compress(next(gguf.glob("*.gguf")), "--method", "rtn", check=3, out=self.fresh("x"))[1]
        self.assertIn("a GGUF file, but no importance matrix", refused.stderr)

    def test_ctrl_c_leaves_nothing(self):
        text = self.fresh("long.txt")
        make_text(text, 1_500_000)
        folder = self.fresh("folder")
        folder.mkdir()
        words = [PARE, "calibrate", self.model, "-o", folder / "imatrix.gguf", "--calib", text, "--samples", 4000, "--length", 256]
        process = subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True)
        time.sleep(2)
        self.assertIsNone(process.poll(), "it was over before it could be stopped")
        process.send_signal(signal.SIGINT)
        rest = process.communicate()[1]
        self.assertEqual(process.returncode, 130, rest)
        self.assertEqual(list(folder.iterdir()), [])

    def test_an_output_that_exists_is_refused_before_any_work(self):
        matrix = self.matrix()
        before = matrix.read_bytes()
        refused = run("calibrate", self.model, "-o", matrix, *self.text_options(), check=2)
        self.assertIn("exists already", refused.stderr)
        self.assertEqual(matrix.read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
