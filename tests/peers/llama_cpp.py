"""llama.cpp itself on what Pare writes, and Pare on what llama.cpp writes. Rows of load_outputs.py where a folder of its programs is given."""
import os
import pathlib
import re
import shutil
import subprocess

from transformers import AutoConfig

import checks
import readers

# With weights in blocks llama.cpp rounds activations to 8 bits, so its logits are not those of the same weights in F32. Wrong weights give 1 and more.
MOST_KL = 0.02
TRIES = 10
# Keys and values in F32, too, and attention as a sum of products: rounding is no excuse then.
EXACT = ("-fa", "off", "-ctk", "f32", "-ctv", "f32")
WRITTEN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "TQ1_0", "TQ2_0", "Q4_K_M",
           "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_M", "IQ3_XXS", "IQ3_S")
READ = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_XS", "TQ1_0", "TQ2_0",
        "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_M", "BF16")


class LlamaCpp:
    def __init__(self, bench, folder):
        self.bench, self.folder, self.work = bench, pathlib.Path(folder).resolve(), bench.work / "llama.cpp"
        self.environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(self.folder), os.environ.get("LD_LIBRARY_PATH")]))}
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def version(self):
        said = self.run("llama-completion", "--version")
        return " ".join(re.findall(r"version: .*", said)) or "of no known version"

    def run(self, program, *words, only_output=False):
        result = subprocess.run([self.folder / program, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE if only_output else subprocess.STDOUT, text=True, env=self.environment, errors="replace")
        checks.require(result.returncode == 0, f"{program}: exit {result.returncode}: {result.stdout[-300:]}")
        return result.stdout

    def base(self, model):
        """The model as F32, by Pare, and the logits that llama.cpp has for it."""
        file, logits = self.work / f"{model}.F32.gguf", self.work / f"{model}.logits"
        if not logits.exists():
            self.bench.run("convert", self.bench.models[model], "-o", file, "--dequantize", "--dtype", "f32")
            self.run("llama-perplexity", "-m", file, "-f", self.bench.text, "-c", 128, "--chunks", 4, "--kl-divergence-base", logits)
        return file, logits

    def loads(self, name):
        """llama.cpp's logits of a file by Pare against llama.cpp's logits of the same weights in F32."""
        out, dense, logits = self.work / f"{name}.gguf", self.work / "dense.gguf", self.work / "dense.logits"
        self.bench.run("compress", self.bench.models["wide"], "-o", out.with_suffix(""), "--type", name, "--calib", self.bench.text, "--samples", 8,
                       "--length", 64, "--eval-tokens", 0)
        written = next(out.with_suffix("").glob("*.gguf"))
        for path in (dense, logits):
            path.unlink(missing_ok=True)
        self.bench.run("convert", written, "-o", dense, "--dequantize", "--dtype", "f32")
        options = ("-f", self.bench.text, "-c", 128, "--chunks", 4)
        self.run("llama-perplexity", "-m", dense, *options, "--kl-divergence-base", logits)
        kl = self.divergence("-m", written, *options, "--kl-divergence-base", logits, "--kl-divergence")
        checks.require(kl <= MOST_KL, f"KL divergence {kl} from the same weights in F32")
        return {"logits": f"KL {kl:.5f}"}

    def divergence(self, *words):
        for _ in range(TRIES):  # its last lines come from a thread that it does not always wait for
            found = re.search(r"Mean\s+KLD:\s*([-0-9.]+)", self.run("llama-perplexity", *words))
            if found:
                return float(found.group(1))
        raise checks.Failed(f"llama-perplexity names no mean KL divergence, {TRIES} times")

    def reads(self, name):
        """Pare on a file by llama-quantize: the same tensors as the gguf package makes of it."""
        file, _ = self.base("wide")
        folder = self.work / "theirs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        matrix = self.work / "imatrix.gguf"
        if not matrix.exists():
            self.run("llama-imatrix", "-m", file, "-f", self.bench.text, "-c", 128, "--chunks", 8, "-o", matrix)
        self.run("llama-quantize", "--imatrix", matrix, file, folder / "x.gguf", name)
        shutil.rmtree(self.bench.work / "dense", ignore_errors=True)
        dense = self.bench.dense(folder / "x.gguf", "dense")
        expected = readers.gguf_weights(folder, AutoConfig.from_pretrained(dense))
        found, _ = readers.weights(readers.load(dense))
        return {"tensors": f"{checks.tensors(expected, found)} by gguf"}

    def parts(self):
        """llama.cpp's gguf-split on parts by Pare, and Pare on parts by gguf-split: the tensors of the whole."""
        file, _ = self.base("wide")
        config = AutoConfig.from_pretrained(self.bench.models["wide"])
        folders = {name: self.work / name for name in ("whole", "ours", "merged", "theirs", "joined")}
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        shutil.copy(file, folders["whole"])
        self.bench.run("convert", file, "-o", folders["ours"] / "x.gguf", "--split", "1MB")
        self.run("llama-gguf-split", "--merge", min(folders["ours"].glob("*.gguf")), folders["merged"] / "x.gguf")
        self.run("llama-gguf-split", "--split", "--split-max-size", "1M", file, folders["theirs"] / "x")
        self.bench.run("convert", min(folders["theirs"].glob("*.gguf")), "-o", folders["joined"] / "x.gguf")
        whole, counts = readers.gguf_weights(folders["whole"], config), [len(list(folders[name].glob("*.gguf"))) for name in ("ours", "theirs")]
        checks.require(min(counts) > 1, f"{counts} parts, which is no test")
        for name in ("merged", "joined"):
            found = readers.gguf_weights(folders[name], config)
            checks.tensors(found, whole)
            checks.complete(found, whole)
        return {"tensors": f"{len(whole)} by gguf", "note": f"{counts[0]} parts of ours merged, {counts[1]} of gguf-split's read"}

    def writes_the_same(self):
        """Greedy text and a chat's answer of the real model in F32, by llama.cpp and by `pare run`."""
        file = self.work / "real.F32.gguf"
        self.bench.run("convert", self.bench.models["real"], "-o", file, "--dequantize", "--dtype", "f32")
        options = ("-m", file, *EXACT, "--temp", 0, "-n", checks.NEW_TOKENS, "-lv", 0)
        for prompt in checks.PROMPTS:
            theirs = self.run("llama-completion", *options, "-no-cnv", "--no-display-prompt", "-p", prompt, only_output=True)
            ours = self.bench.run("run", file, prompt, "--raw", "--temp", 0, "-n", checks.NEW_TOKENS)
            checks.require(theirs.strip() == ours.strip(), f"{prompt!r}: {theirs!r} by llama.cpp, {ours!r} by Pare")
        question = "What is the capital of France?"
        chat = self.run("llama-completion", *options, "-cnv", "--jinja", "-st", "-p", question, only_output=True)
        ours = self.bench.run("run", file, question, "--temp", 0, "-n", checks.NEW_TOKENS).strip()
        checks.require(ours in chat, f"the chat: {chat!r} by llama.cpp, {ours!r} by Pare")
        return {"text": "same", "note": "ten prompts, and a chat with the file's own template"}

    def rows(self):
        """(name, work); `work` gives the cells, or raises."""
        yield "llama.cpp: real F32, text", self.writes_the_same
        yield "llama.cpp: models in parts", self.parts
        for name in WRITTEN:
            yield f"llama.cpp loads our {name}", lambda name=name: self.loads(name)
        for name in READ:
            yield f"we read llama.cpp's {name}", lambda name=name: self.reads(name)
