"""pare compress from the outside: what it writes, what it promises, what it refuses."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import unittest

from support import PARE, PareTest, make_text, read_safetensors_header, read_tensors, run, weight_hashes


class Compress(PareTest):
    def compress(self, out, *options, check=0, model=None):
        return run("compress", model or self.model, "-o", out, *options, *self.calibration(), check=check)

    def test_every_method_and_format_that_go_together(self):
        for options in (["--bits", 4, "--group", 32], ["--bits", 3, "--group", 32, "--asym"], ["--method", "rtn", "--bits", 8],
                        ["--bits", "ternary", "--group", 32], ["--bits", 4, "--group", 32, "--format", "gptq"],
                        ["--bits", 4, "--format", "gguf"], ["--bits", 4, "--asym", "--format", "gguf"], ["--bits", 8, "--format", "gguf"],
                        ["--type", "Q4_K_M"], ["--type", "Q2_K", "--method", "rtn"], ["--type", "Q5_1"], ["--type", "MXFP4"],
                        ["--bits", 4, "--group", 32, "--format", "hf"], ["--sparsity", 0.5], ["--sparsity", "2:4"],
                        ["--sparsity", "4:8", "--method", "wanda"], ["--sparsity", 0.5, "--method", "magnitude"],
                        ["--sparsity", "2:4", "--format", "compressed-tensors"], ["--sparsity", 0.5, "--format", "compressed-tensors"],
                        ["--sparsity", "2:4", "--bits", 4, "--group", 32], ["--bits", 4, "--group", 32, "--one-pass"],
                        ["--sparsity", "2:4", "--bits", 3, "--group", 32, "--asym", "--format", "pare"], ["--sparsity", 0.7, "--format", "pare"],
                        ["--bits", "ternary", "--group", 32, "--format", "pare"]):
            with self.subTest(options=options):
                out = self.fresh("out")
                self.compress(out, *options, "--max-kl", 100)
                report = json.loads((out / "report.json").read_text())
                written = sum(p.stat().st_size for p in out.iterdir() if p.suffix in (".safetensors", ".gguf"))
                self.assertEqual(report["result"]["bytes"], written, "the size was promised to the byte")
                linears = [layer for layer in report["layers"] if layer["kind"] not in ("embed", "head")]
                self.assertEqual(len(linears), 21)
                self.assertEqual(len(report["layers"]) > 21, "--type" in options, "a mix rounds embedding and head, too")
                self.assertTrue((out / "report.html").stat().st_size > 1000)
                self.assertTrue((out / "recipe.yaml").exists())
                model = next((p for p in out.iterdir() if p.suffix == ".gguf"), out)
                figures = json.loads(run("eval", model, "--against", self.model, "--text", self.text, "--length", 64, "--tokens", 512, "--json").stdout)
                for key in ("perplexity", "perplexity_stderr", "tokens", "length", "kl", "top1"):
                    self.assertIn(key, figures)
                run("inspect", model, "--json")

    def test_pares_own_container_holds_no_bit_of_what_was_removed(self):
        sizes, made, dense = {}, {}, {}
        for form in ("pare", "compressed-tensors"):
            made[form], dense[form] = self.fresh("out-" + form), self.fresh("dense-" + form)
            out = made[form]
            self.compress(out, "--sparsity", 0.6, "--bits", 4, "--group", 32, "--format", form, "--max-kl", 100)
            sizes[form] = sum(tensor["bytes"] for tensor in json.loads(run("inspect", out, "--tensors", "--json").stdout)["tensors"])
            run("convert", out, "-o", dense[form], "--format", "hf", "--dtype", "f32")
        linears = 3 * 36864  # of the small model; 1.6 bits of codes, one of the mask, and the scales
        self.assertLess(sizes["pare"], sizes["compressed-tensors"] - linears * (4 - 2.6) / 8 * 0.95)
        self.assertEqual(*map(read_tensors, dense.values()), "the same weights in either")
        again, recipe = self.fresh("again"), self.root / "some.yaml"  # what is left alone stays what it is
        recipe.write_text("format: pare\nbits: 8\ngroup: 32\nlayers:\n  - match: \"*.mlp.*\"\n    method: none\n")
        self.compress(again, "--recipe", recipe, "--max-kl", 100, model=made["pare"])
        forms = {tensor["name"]: tensor["form"] for tensor in json.loads(run("inspect", again, "--tensors", "--json").stdout)["tensors"]}
        self.assertEqual(forms["model.layers.0.mlp.up_proj.weight"], "40.0 % kept of 4-bit, groups of 32, symmetric")
        self.assertEqual(forms["model.layers.0.self_attn.q_proj.weight"], "8-bit, groups of 32, symmetric")
        self.assertIn("no method of compress fits codebooks", self.compress(self.fresh("aqlm"), "--bits", 4, "--format", "aqlm", check=2).stderr)

    def test_same_bytes_on_one_and_two_threads_and_twice(self):
        results = []
        for threads in (1, 2, 2):
            out = self.fresh("out")
            self.compress(out, "--bits", 4, "--group", 32, "--threads", threads)
            results.append(weight_hashes(out))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[1], results[2])

    def test_types_by_size(self):
        smallest = run("compress", self.model, "--size", "1kB", "--dry-run", check=2).stderr
        least = int(re.search(r"has (\d+) bytes", smallest).group(1))
        before = None
        for size in (least, int(least * 1.5)):
            with self.subTest(size=size):
                first, second = self.fresh("a"), self.fresh("b")
                self.compress(first, "--size", size, "--threads", 1, "--max-kl", 100)
                elsewhere = {**os.environ, "PARE_CACHE": str(self.fresh("cache"))}  # measured again, not remembered
                run("compress", self.model, "-o", second, "--size", size, "--threads", 2, "--max-kl", 100, *self.calibration(), env=elsewhere)
                self.assertEqual(weight_hashes(first), weight_hashes(second), "choices depend on the number of threads")
                report = json.loads((first / "report.json").read_text())
                self.assertLessEqual(report["result"]["bytes"], size)
                self.assertGreater(report["result"]["bytes"], size * 0.93, "room that nobody used")
                self.assertEqual(report["asked"]["size"], size)
                kl = report["evaluation"]["kl"]
                self.assertTrue(before is None or kl < before, (before, kl))
                before = kl
        again = self.fresh("again")
        self.compress(again, "--recipe", first / "recipe.yaml", "--max-kl", 100)
        self.assertEqual(weight_hashes(first), weight_hashes(again), "the recipe says what was chosen")

    def test_types_of_single_tensors(self):
        out = self.fresh("out")
        self.compress(out, "--type", "Q4_0", "--tensor-type", "ffn_down=Q5_1", "--tensor-type", "blk.0.attn_q=Q8_0",
                      "--tensor-type", "layers.1.mlp.gate=none", "--max-kl", 100)
        report = json.loads((out / "report.json").read_text())
        forms = {layer["name"]: layer["form"] for layer in report["layers"]}
        self.assertTrue(all("Q5_1" in form for name, form in forms.items() if name.endswith("down_proj")), forms)
        self.assertIn("Q8_0", forms["model.layers.0.self_attn.q_proj"])
        self.assertIn("Q4_0", forms["model.layers.1.self_attn.q_proj"])
        self.assertNotIn("model.layers.1.mlp.gate_proj", forms)
        for wrong, word in (("attn_q", "REGEX=TYPE"), ("attn_q=Q9", "Q9"), ("nothing_like_it=Q4_0", "no matrix"),
                            ("attn_q=Q4_K_M", "mix"), ("(=Q4_0", "regular expression")):
            self.assertIn(word, run("compress", self.model, "--type", "Q4_0", "--tensor-type", wrong, "--dry-run", check=2).stderr)

    def test_guided_is_another_result(self):
        figures = []
        for options in (["--no-guided"], ["--guided"]):
            out = self.fresh("out")
            self.compress(out, "--type", "Q4_0", *options, "--max-kl", 100)
            figures.append(weight_hashes(out))
        self.assertNotEqual(*figures)

    def test_spilled_activations_change_no_byte(self):
        first, second = self.fresh("a"), self.fresh("b")
        options = ["--bits", 4, "--group", 32, "--calib", self.text, "--samples", 32, "--length", 64, "--eval-tokens", 0]
        run("compress", self.model, "-o", first, *options)

        def plan(memory):
            return json.loads(run("compress", self.model, "--dry-run", "--json", *options, "--memory", memory).stdout)
        peak = plan("8GB")["peak_bytes"]
        # 32 x 64 tokens of 64 values each are 524,288 bytes that need not be in memory
        limit = next(peak - step for step in range(1000, 2_000_000, 20_000) if plan(peak - step)["spill_activations"])
        run("compress", self.model, "-o", second, *options, "--memory", limit)
        self.assertEqual(weight_hashes(first), weight_hashes(second))

    def test_the_recipe_in_the_output_makes_the_same_bytes_again(self):
        first, second = self.fresh("a"), self.fresh("b")
        self.compress(first, "--bits", 3, "--group", 32, "--asym", "--seed", 7)
        run("compress", self.model, "-o", second, "--recipe", first / "recipe.yaml", "--eval-tokens", 256, "--eval-length", 64)
        self.assertEqual(weight_hashes(first), weight_hashes(second))

    def test_without_calib_the_model_writes_its_own_text(self):
        out = self.fresh("out")
        run("compress", self.model, "-o", out, "--bits", 4, "--group", 32, "--samples", 4, "--length", 32, "--eval-tokens", 128)
        report = json.loads((out / "report.json").read_text())
        self.assertIn("model itself", report["calibration"]["source"])

    def test_own_text_is_written_only_for_what_needs_it(self):
        def plan(*options):
            return json.loads(run("compress", self.model, "--dry-run", "--json", *options).stdout)
        self.assertGreater(plan("--bits", 4, "--eval-text", self.text)["own_text_bytes"], 0)
        self.assertGreater(plan("--bits", 4, "--method", "rtn")["own_text_bytes"], 0, "held out for the evaluation")
        self.assertEqual(plan("--bits", 4, "--method", "rtn", "--eval-text", self.text)["own_text_bytes"], 0)
        self.assertEqual(plan("--bits", 4, "--method", "rtn", "--eval-tokens", 0)["own_text_bytes"], 0)
        out, cache = self.fresh("out"), self.fresh("cache")
        run("compress", self.model, "-o", out, "--bits", 4, "--group", 32, "--method", "rtn", "--eval-text", self.text, "--eval-tokens", 128,
            "--eval-length", 64, env={**os.environ, "PARE_CACHE": str(cache)})
        report = json.loads((out / "report.json").read_text())
        self.assertEqual(report["evaluation"]["text"], str(self.text))
        self.assertEqual(report["evaluation"]["tokens"], 128)
        self.assertFalse(cache.exists())

    def test_own_text_that_does_not_fit_is_refused_before_it_is_written(self):
        options = ["--bits", 4, "--group", 32, "--samples", 32, "--length", 16384]
        plan = json.loads(run("compress", self.model, "--dry-run", "--json", *options).stdout)
        refused = run("compress", self.model, "-o", self.fresh("out"), *options, "--memory", plan["own_text_bytes"] - 1, check=5)
        self.assertIn("--calib", refused.stderr)

    def test_dry_run_writes_nothing_and_needs_no_torch(self):
        out = self.fresh("out")
        result = run("compress", self.model, "-o", out, "--dry-run", "--bits", 4, *self.calibration())
        self.assertIn("exactly", result.stdout)
        self.assertFalse(out.exists())

    def test_the_format_chosen_is_one_that_loaders_take(self):
        for format, options in (("compressed-tensors", ["--bits", 4]), ("gptq", ["--bits", 4, "--asym"]), ("compressed-tensors", ["--bits", 5, "--asym"]),
                                ("hf", ["--sparsity", 0.5]), ("compressed-tensors", ["--sparsity", "2:4", "--bits", 4])):
            with self.subTest(options=options):
                plan = json.loads(run("compress", self.model, "--dry-run", "--json", *options).stdout)
                self.assertEqual(plan["format"], format)

    def test_gptq_has_one_group_for_all_layers(self):
        plan = json.loads(run("compress", self.model, "--dry-run", "--json", "--bits", 4, "--format", "gptq").stdout)
        self.assertIn("groups of 64 in all layers", " ".join(plan["notes"]))
        self.assertEqual({layer["form"] for layer in plan["layers"]}, {"4-bit, one group a row, symmetric", "4-bit, groups of 64, symmetric"})

    def test_the_plan_and_the_report_say_which_loaders_refuse_the_result(self):
        out, options = self.fresh("out"), ["--sparsity", 0.5, "--format", "compressed-tensors"]
        plan = json.loads(run("compress", self.model, "-o", out, "--dry-run", "--json", *options, *self.calibration()).stdout)
        self.assertIn("fills these layers with random values", " ".join(plan["notes"]))
        self.compress(out, *options)
        self.assertIn("fills these layers with random values", " ".join(json.loads((out / "report.json").read_text())["warnings"]))

    def test_ctrl_c_keeps_the_journal_and_prints_the_line_to_go_on(self):
        out = self.fresh("out")
        words = [PARE, "compress", str(self.model), "-o", str(out), "--bits", "4", "--group", "32", *map(str, self.calibration())]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if "layers.0" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        code = process.wait()
        self.assertEqual(code, 130, rest)
        self.assertIn("compress", rest)
        self.assertFalse(out.exists())
        run(*words[1:])
        self.assertTrue(out.exists())

    def test_quality_past_the_bound_is_exit_6_with_the_result_kept(self):
        out = self.fresh("out")
        self.compress(out, "--bits", 2, "--group", 64, "--max-kl", 1e-9, check=6)
        self.assertFalse(json.loads((out / "report.json").read_text())["goal"]["met"])


    def test_a_trailing_slash_changes_nothing(self):
        plain, slashed = self.fresh("a"), self.fresh("b")
        self.compress(plain, "--bits", 4, "--group", 32)
        self.compress(f"{slashed}/", "--bits", 4, "--group", 32, model=f"{self.model}/")
        self.assertEqual(weight_hashes(plain), weight_hashes(slashed))
        self.assertFalse((slashed / ".journal").exists())

    def test_a_journal_left_beside_a_finished_output_is_cleared(self):
        out = self.fresh("out")
        journal = out.parent / (out.name + ".journal")
        self.compress(out, "--bits", 4, "--group", 32)
        before = weight_hashes(out)
        journal.mkdir()
        (journal / "journal.log").write_bytes(b"")
        self.compress(out, "--bits", 4, "--group", 32)
        self.assertFalse(journal.exists())
        self.assertEqual(weight_hashes(out), before)
        journal.mkdir()
        self.compress(out, "--bits", 8, "--group", 32, check=2)  # another recipe: not that run's output
        shutil.rmtree(journal)

    def one_file(self, name="x.gguf"):
        """Where a .gguf file goes: into a folder of its own, to see what else appears."""
        folder = self.fresh(f"{name}-folder")
        folder.mkdir()
        return folder / name

    def test_a_name_that_ends_in_gguf_is_that_file_and_its_report_beside_it(self):
        out = self.one_file()
        plan = json.loads(run("compress", self.model, "-o", out, "--type", "Q4_K_M", "--dry-run", "--json").stdout)
        self.assertIn(f"{plan['bytes']} bytes: x.gguf\n", run("compress", self.model, "-o", out, "--type", "Q4_K_M", "--dry-run").stdout)
        result = self.compress(out, "--type", "Q4_K_M", "--max-kl", 100)
        self.assertEqual([p.name for p in sorted(out.parent.iterdir())], ["x.gguf", "x.recipe.yaml", "x.report.html", "x.report.json"])
        self.assertEqual(plan["files"], [{"name": "x.gguf", "bytes": out.stat().st_size}])
        self.assertRegex(result.stderr, rf"model +{out}\n +report +{out.parent}/x.report.html\n")
        report = json.loads((out.parent / "x.report.json").read_text())
        self.assertEqual(report["result"]["path"], str(out))
        self.assertEqual(report["result"]["bytes"], out.stat().st_size)
        self.assertEqual(json.loads(run("report", out, "--json").stdout)["runs"][0]["report"], report)
        run("eval", out, "--against", self.model, "--text", self.text, "--length", 64, "--tokens", 256)
        folder, again = self.fresh("out"), self.one_file("again.gguf")
        self.compress(folder, "--type", "Q4_K_M", "--max-kl", 100)
        made = next(p for p in folder.iterdir() if p.suffix == ".gguf")
        self.assertEqual(made.read_bytes(), out.read_bytes(), "the same file as in a folder")
        run("compress", self.model, "-o", again, "--recipe", out.parent / "x.recipe.yaml", "--eval-tokens", 256, "--eval-length", 64, "--max-kl", 100)
        self.assertEqual(again.read_bytes(), out.read_bytes())
        self.assertEqual((again.parent / "again.recipe.yaml").read_text(), (out.parent / "x.recipe.yaml").read_text())

    def test_nothing_is_written_over_by_a_file_or_what_belongs_to_it(self):
        out = self.one_file()
        self.compress(out, "--bits", 4)
        before = weight_hashes(out.parent)
        self.assertIn("x.gguf: exists already", self.compress(out, "--bits", 4, check=2).stderr)
        self.assertEqual(weight_hashes(out.parent), before)
        out.unlink()
        self.assertIn("x.report.html: exists already", self.compress(out, "--bits", 4, check=2).stderr)
        (out.parent / "x.report.json").unlink()
        run("convert", self.model, "-o", out)
        self.assertIn("no x.report.json beside it", run("report", out, check=3).stderr)

    def test_a_file_is_gguf(self):
        out = self.one_file()
        self.assertIn("cannot be of format hf", self.compress(out, "--bits", 4, "--format", "hf", check=2).stderr)
        recipe = self.fresh("recipe.yaml")
        recipe.write_text("bits: 4\nformat: gptq\n")
        self.assertIn("cannot be of format gptq", self.compress(out, "--recipe", recipe, check=2).stderr)
        self.assertIn("Give -o", self.compress(out.parent / "x-00001-of-00002.gguf", "--bits", 4, check=2).stderr)
        self.assertEqual(list(out.parent.iterdir()), [])

    def test_a_file_in_parts(self):
        out, whole = self.one_file(), self.fresh("whole")
        size = 40000
        options = ["--type", "Q4_K_M", "--max-kl", 100]
        plan = json.loads(run("compress", self.model, "-o", out, *options, "--split", size, "--dry-run", "--json").stdout)
        self.compress(out, *options, "--split", size)
        parts = sorted(out.parent.glob("*.gguf"))
        self.assertEqual(plan["files"], [{"name": p.name, "bytes": p.stat().st_size} for p in parts])
        self.assertGreater(len(parts), 1)
        self.assertEqual(parts[0].name, f"x-00001-of-{len(parts):05}.gguf")
        self.assertTrue(all(p.stat().st_size <= size for p in parts), plan["files"])
        report = json.loads((out.parent / "x.report.json").read_text())
        self.assertEqual(report["result"]["path"], str(parts[0]))
        self.assertEqual(report["result"]["bytes"], sum(p.stat().st_size for p in parts))
        self.assertEqual(json.loads(run("report", parts[1], "--json").stdout)["runs"][0]["report"], report)
        self.compress(whole, *options)
        one, another = self.fresh("one"), self.fresh("another")
        run("convert", parts[-1], "-o", one, "--format", "hf", "--dequantize")
        run("convert", whole, "-o", another, "--format", "hf", "--dequantize")
        self.assertEqual((one / "model.safetensors").read_bytes(), (another / "model.safetensors").read_bytes(), "the same weights")
        figures = [json.loads(run("eval", model, "--text", self.text, "--length", 64, "--tokens", 256, "--json").stdout) for model in (parts[0], whole)]
        self.assertEqual(*figures)
        self.assertEqual(run("run", parts[0], "ab", "--raw", "-n", 4, "--temp", 0).stdout, run("run", whole, "ab", "--raw", "-n", 4, "--temp", 0).stdout)
        again = self.fresh("again")  # a model in parts as the input, a folder of parts as the result
        run("compress", parts[0], "-o", again, "--recipe", out.parent / "x.recipe.yaml", "--eval-tokens", 256, "--eval-length", 64, "--max-kl", 100)
        self.assertEqual(len(list(again.glob("*.gguf"))), len(parts))
        run("inspect", again)

    def test_a_size_holds_for_all_parts_together(self):
        least = int(re.search(r"has (\d+) bytes", run("compress", self.model, "--size", "1kB", "--split", "20kB", "--dry-run", check=2).stderr).group(1))
        for size in (least, least + 300, int(least * 1.4)):
            out = self.one_file()
            self.compress(out, "--size", size, "--split", "20kB", "--max-kl", 100)
            written = sum(p.stat().st_size for p in out.parent.glob("*.gguf"))
            self.assertLessEqual(written, size)
            self.assertEqual(json.loads((out.parent / "x.report.json").read_text())["result"]["bytes"], written)

    def test_only_gguf_is_split_and_the_least_size_is_said(self):
        for options, words in ((["--bits", 4, "--split", "1GB"], "for GGUF, not for compressed-tensors"), (["--type", "Q4_0", "--split", "1kB"], "all metadata are in the first file"),
                               (["--type", "Q4_0", "--split", "two"], "is not a size")):
            self.assertIn(words, run("compress", self.model, *options, "--dry-run", check=2).stderr)

    def test_a_finished_file_whose_journal_was_left_is_not_made_again(self):
        out = self.one_file()
        self.compress(out, "--bits", 4)
        journal = out.parent / "x.gguf.journal"
        journal.mkdir()
        (journal / "journal.log").write_bytes(b"")
        self.assertIn("was finished already", self.compress(out, "--bits", 4).stderr)
        self.assertFalse(journal.exists())

    def test_another_runs_journal_is_refused_and_one_without_a_name_is_not_used(self):
        out = self.fresh("out")
        words = [PARE, "compress", str(self.model), "-o", str(out), "--bits", "4", "--group", "32", *map(str, self.calibration())]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if "layers.1" in line:
                process.kill()
                break
        process.stderr.close()
        if process.wait() == 0:
            self.fail("finished before it was killed; make the model larger")
        self.assertIn("recipe", self.compress(out, "--bits", 3, "--group", 32, check=2).stderr)
        (out.parent / (out.name + ".journal") / "run.json").unlink()
        self.assertNotIn("going on", self.compress(out, "--bits", 3, "--group", 32).stderr)
        calm = self.fresh("calm")
        self.compress(calm, "--bits", 3, "--group", 32)
        self.assertEqual(weight_hashes(out), weight_hashes(calm))

    def test_bits_go_over_a_ternary_recipe(self):
        recipe, out = self.fresh("recipe.yaml"), self.fresh("out")
        recipe.write_text("bits: ternary\ngroup: 32\n")
        self.compress(out, "--recipe", recipe, "--bits", 4)
        report = json.loads((out / "report.json").read_text())
        self.assertEqual(report["recipe"]["bits"], 4)
        self.assertEqual(report["layers"][0]["form"], "4-bit, groups of 32, symmetric")
        self.assertIn("bits: 4", (out / "recipe.yaml").read_text())
        self.assertIn("Recipe", (out / "report.html").read_text())

    def test_a_path_that_is_not_utf8(self):
        text, out = os.fsencode(self.fresh("t")) + b"\xe9xt.txt", self.fresh("out")
        shutil.copy(self.text, text)
        run("compress", self.model, "-o", out, "--bits", 4, "--group", 32, "--calib", os.fsdecode(text), "--samples", 4, "--length", 32)
        json.loads((out / "report.json").read_text())

    def test_evaluation_options_that_meet(self):
        for options in (["--eval-tokens", 0, "--eval-text", self.text], ["--eval-tokens", 40, "--eval-text", self.text]):
            with self.subTest(options=options):
                out = self.fresh("out")
                run("compress", self.model, "-o", out, "--method", "rtn", "--bits", 4, "--group", 32, *options)
                evaluation = json.loads((out / "report.json").read_text())["evaluation"]
                self.assertEqual(evaluation.get("tokens", 0), options[1])

    def test_blocks_past_the_last_one_are_left_alone(self):
        model, out = self.fresh("model"), self.fresh("out")
        shutil.copytree(self.model, model)
        config = json.loads((model / "config.json").read_text())
        config["num_hidden_layers"] = 2
        (model / "config.json").write_text(json.dumps(config))
        self.compress(out, "--bits", 4, "--group", 32, model=model)
        report = json.loads((out / "report.json").read_text())
        self.assertEqual(len(report["layers"]), 14)
        self.assertTrue(any("past the last" in item["why"] for item in report["left_alone"]))

    def test_a_folder_of_links_as_the_hub_keeps_it(self):
        cache, out = self.fresh("cache"), self.fresh("deep") / "er" / "out"
        (cache / "blobs").mkdir(parents=True)
        (cache / "snapshots" / "abc").mkdir(parents=True)
        out.parent.mkdir(parents=True)
        for number, path in enumerate(sorted(self.model.iterdir())):
            shutil.copy(path, cache / "blobs" / str(number))
            (cache / "snapshots" / "abc" / path.name).symlink_to(f"../../blobs/{number}")
        self.compress(out, "--bits", 4, "--group", 32, model=cache / "snapshots" / "abc")
        self.assertTrue((out / "tokenizer.json").exists())
        self.assertEqual(sorted(p.name for p in out.parent.parent.iterdir()), ["er"])


class BadInput(PareTest):
    def refused(self, code, *texts, model=None, options=("--bits", 4, "--group", 32), calibration=None, out=None):
        out = out or self.fresh("out")
        before = set(out.parent.iterdir())
        result = run("compress", model or self.model, "-o", out, *options, *(calibration or self.calibration()), check=code)
        for text in texts:
            self.assertIn(text, result.stderr)
        left = {p.name for p in set(out.parent.iterdir()) - before if not p.name.endswith(".journal")}
        self.assertEqual(left, set(), "something was left half-written")
        return result

    def copy_model(self):
        copy = self.fresh("model")
        shutil.copytree(self.model, copy)
        return copy

    def test_truncated_weights(self):
        model = self.copy_model()
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        self.refused(3, "model.safetensors", model=model)

    def test_missing_shard_and_missing_index(self):
        model = self.copy_model()
        os.rename(model / "model.safetensors", model / "model-00001-of-00002.safetensors")
        _, header = read_safetensors_header(model / "model-00001-of-00002.safetensors")
        names = [name for name in header if name != "__metadata__"]
        weight_map = {name: "model-00001-of-00002.safetensors" for name in names}
        weight_map["model.extra.weight"] = "model-00002-of-00002.safetensors"
        (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        self.refused(3, "model-00002-of-00002.safetensors", model=model)
        (model / "model.safetensors.index.json").unlink()
        self.refused(3, "index", model=model)

    def plant(self, model, tensor, bits):
        path = model / "model.safetensors"
        data = bytearray(path.read_bytes())
        begin, header = read_safetensors_header(path)
        at = begin + header[tensor]["data_offsets"][0] + 2 * 5
        data[at:at + 2] = struct.pack("<H", bits)
        path.write_bytes(data)

    def test_nan_in_a_weight_is_named(self):
        model = self.copy_model()
        self.plant(model, "model.layers.1.mlp.up_proj.weight", 0x7FC0)
        self.refused(3, "model.layers.1.mlp.up_proj", model=model)

    def test_infinity_in_an_activation_is_named(self):
        model = self.copy_model()
        self.plant(model, "model.layers.1.input_layernorm.weight", 0x7F7F)  # 3.4e38: finite, its products are not
        self.refused(3, "model.layers.1.self_attn.q_proj", "channel 5", model=model)

    def test_group_that_does_not_divide(self):
        self.refused(2, "group 48 does not divide", "--group", options=("--bits", 4, "--group", 48))

    def test_unknown_architecture(self):
        model = self.copy_model()
        config = json.loads((model / "config.json").read_text())
        config["model_type"] = "mamba9"
        (model / "config.json").write_text(json.dumps(config))
        self.refused(4, "mamba9", model=model)

    def test_unknown_recipe_key_gets_the_nearest(self):
        recipe = self.fresh("recipe.yaml")
        recipe.write_text("bits: 4\ngruop: 32\n")
        self.refused(2, "gruop", "group", options=("--recipe", recipe))

    def test_empty_missing_and_tiny_calibration_text(self):
        empty = self.fresh("empty.txt")
        empty.write_text("")
        self.refused(3, "empty.txt", calibration=["--calib", empty])
        tiny = self.fresh("tiny.txt")
        tiny.write_text("too short")
        self.refused(3, "tokens", calibration=["--calib", tiny])
        self.refused(3, "nowhere.txt", calibration=["--calib", self.root / "nowhere.txt"])

    def test_all_equal_tokens_make_a_singular_hessian_and_still_a_model(self):
        same = self.fresh("same.txt")
        same.write_text("a" * 5000)
        out = self.fresh("out")
        run("compress", self.model, "-o", out, "--bits", 4, "--group", 32, "--calib", same, "--samples", 8, "--length", 64, "--max-kl", 100)
        report = json.loads((out / "report.json").read_text())
        losses = [layer["relative_loss"] for layer in report["layers"]]
        self.assertTrue(all(loss is not None and 0 <= loss < 10 for loss in losses), losses)
        self.assertIsNotNone(report["evaluation"]["after"]["perplexity"])

    def test_a_type_is_gguf_and_says_what_stands_in_for_what(self):
        plan = json.loads(run("compress", self.model, "--type", "Q4_K_M", "--dry-run", "--json").stdout)
        self.assertEqual(plan["format"], "gguf")
        self.assertIn("IQ4_NL instead", " ".join(plan["notes"]))
        for options, words in ((["--type", "Q4_KM"], "did you mean Q4_K"), (["--type", "Q4_0", "--format", "gptq"], "needs --format gguf"),
                               (["--type", "Q4_0", "--sparsity", "2:4", "--method", "gptq"], "no place for a mask"),
                               (["--type", "Q4_0", "--bits", 4], "excludes")):
            with self.subTest(options=options):
                self.assertIn(words, run("compress", self.model, "-o", self.fresh("out"), *options, check=2).stderr)

    def test_contradictions_are_refused_before_any_work(self):
        recipe = self.fresh("recipe.yaml")
        for text, options, word in (("bits: 4\ngroup: 32\nstatic_groups: false\n", [], "static_groups"),
                                    ("bits: 4\ngroup: 32\nshift: 0.5\n", ["--one-pass"], "shift"),
                                    ("method: wanda\nsparsity: 0.5\nshift: 0.5\n", [], "shift"),
                                    ("bits: 4\n", ["--samples", "300000000000000000"], "--samples")):
            recipe.write_text(text)
            with self.subTest(text=text):
                self.refused(2, word, options=("--recipe", recipe, *options, "--dry-run") if not options else ("--recipe", recipe, *options))

    def test_existing_output_and_output_over_input(self):
        existing = self.fresh("existing")
        existing.mkdir()
        (existing / "keep.txt").write_text("mine")
        self.refused(2, "existing", out=existing)
        self.assertEqual((existing / "keep.txt").read_text(), "mine")
        self.refused(2, "model", out=self.model)
        self.refused(2, out=self.model / "inside")

    def test_unwritable_output(self):
        self.refused(5, out=pathlib.Path("/sys/pare-out"))  # not even root writes there

    def test_memory_too_small_says_what_would_do(self):
        self.refused(5, "--memory", options=("--bits", 4, "--group", 32, "--memory", "10MB"))

    def test_disk_full_is_provoked(self):
        out = self.fresh("out")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        result = run("compress", self.model, "-o", out, "--bits", 4, "--group", 32, *self.calibration(), check=5, preexec_fn=limit)
        self.assertRegex(result.stderr, r"pare: .*(File too large|needs .* of disk|reserve)")
        self.assertIn(out.name, result.stderr)
        self.assertFalse(out.exists())

    def test_pickled_weights_are_refused_with_the_way_out(self):
        model = self.copy_model()
        os.rename(model / "model.safetensors", model / "pytorch_model.bin")
        self.refused(4, "safetensors", model=model)

    def test_wrong_usage_is_exit_2(self):
        for words in (["compress"], ["compress", self.model, "--bits", "17"], ["compress", self.model], ["compress", self.model, "-o", self.fresh("o"), "--method", "gtpq", "--bits", 4], ["frobnicate"]):
            run(*words, check=2)


if __name__ == "__main__":
    unittest.main()
