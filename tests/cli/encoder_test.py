"""BERT encoders from the outside: into GGUF and back, what is inspected, what is refused.

    PARE=... MAKE_MODEL=... python tests/cli/encoder_test.py

The folders are made here, tensor by tensor, with a WordPiece vocabulary of their own; what pare writes is read by the formats'
definitions. That llama.cpp makes the same vectors of such files is tried by hand: docs/gguf.md.
"""
import array
import json
import os
import random
import shutil
import struct
import unittest

from support import PareTest, bfloats, floats, halves, read_gguf, read_tensors, run, write_tensors

HIDDEN, WIDE, LAYERS, HEADS, POSITIONS, TYPES = 64, 96, 2, 4, 24, 2
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = [*SPECIAL, "[unused0]", "the", "cat", "sat", "##s", "##ing", "s", "ing", "é", "猫", "!", "#", "##x1"]
MODULES = [{"idx": number, "name": str(number), "path": path, "type": "sentence_transformers.models." + kind}
           for number, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])]
PACKERS = {"F32": floats, "F16": halves, "BF16": bfloats}
UNPACKERS = {"F32": lambda data: array.array("f", data), "F16": lambda data: struct.unpack(f"<{len(data) // 2}e", data),
             "BF16": lambda data: array.array("f", b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)))}


def values(tensor):
    kind, _, data = tensor
    return list(UNPACKERS[kind](data))


def shapes():
    """Of BertModel, under its own names."""
    result = {"embeddings.word_embeddings.weight": [len(VOCAB), HIDDEN], "embeddings.position_embeddings.weight": [POSITIONS, HIDDEN],
              "embeddings.token_type_embeddings.weight": [TYPES, HIDDEN], "embeddings.LayerNorm.weight": [HIDDEN], "embeddings.LayerNorm.bias": [HIDDEN]}
    for layer in range(LAYERS):
        for name, out, inputs in (("attention.self.query", HIDDEN, HIDDEN), ("attention.self.key", HIDDEN, HIDDEN),
                                  ("attention.self.value", HIDDEN, HIDDEN), ("attention.output.dense", HIDDEN, HIDDEN),
                                  ("attention.output.LayerNorm", HIDDEN, None), ("intermediate.dense", WIDE, HIDDEN),
                                  ("output.dense", HIDDEN, WIDE), ("output.LayerNorm", HIDDEN, None)):
            result[f"encoder.layer.{layer}.{name}.weight"] = [out, inputs] if inputs else [out]
            result[f"encoder.layer.{layer}.{name}.bias"] = [out]
    return result


POOLER = {"pooler.dense.weight": [HIDDEN, HIDDEN], "pooler.dense.bias": [HIDDEN]}


def random_tensors(dtype, names):
    """Numbers of 7 bits, which every type here holds."""
    rng = random.Random(1)
    tensors = {}
    for name, shape in names.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[name] = (dtype, shape, PACKERS[dtype]([rng.randrange(-64, 65) / 512 for _ in range(count)]))
    return tensors


def tokenizer_json(lowercase=True):
    special = [{"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for number, token in enumerate(SPECIAL)]
    around = lambda token, kind: {"SpecialToken": {"id": token, "type_id": kind}}
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": [around("[CLS]", 0), text("A", 0), around("[SEP]", 0)],
                               "pair": [around("[CLS]", 0), text("A", 0), around("[SEP]", 0), text("B", 1), around("[SEP]", 1)],
                               "special_tokens": {token: {"id": token, "ids": [VOCAB.index(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                      "vocab": {token: number for number, token in enumerate(VOCAB)}}}


class Encoder(PareTest):
    def folder(self, name="folder", dtype="F32", names=None, modules=MODULES, pooling="mean_tokens", tensors=None, **config):
        folder = self.fresh(name)
        folder.mkdir()
        write_tensors(folder / "model.safetensors", tensors or random_tensors(dtype, names or {**shapes(), **POOLER}))
        write = lambda path, value: (folder / path).write_text(json.dumps(value))
        write("config.json", {
            "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(VOCAB), "hidden_size": HIDDEN, "intermediate_size": WIDE,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "max_position_embeddings": POSITIONS, "type_vocab_size": TYPES,
            "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0, **config})
        write("tokenizer.json", tokenizer_json())
        write("tokenizer_config.json", {"pad_token": "[PAD]", "mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"})
        if modules is not None:
            write("modules.json", modules)
            (folder / "1_Pooling").mkdir()
            write("1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_" + pooling: True, "pooling_mode_other": False})
        return folder

    def convert(self, source, name, *options, **how):
        out = self.fresh(name)
        result = run("convert", source, "-o", out, *options, **how)
        return out, result

    def test_there_and_back_every_value_and_every_token_is_the_same(self):
        for dtype in PACKERS:
            folder = self.folder(dtype, dtype)
            gguf, _ = self.convert(folder, dtype + ".gguf")
            back, _ = self.convert(gguf, dtype + "-back", "--format", "hf")
            before, after = read_tensors(folder), read_tensors(back)
            self.assertEqual(after.keys(), shapes().keys())
            for name in after:
                self.assertEqual(after[name][1], before[name][1], name)
                self.assertEqual(values(after[name]), values(before[name]), name)
            read = lambda path: json.loads((back / path).read_text())
            self.assertEqual(read("tokenizer.json"), tokenizer_json())
            config = json.loads((folder / "config.json").read_text())
            self.assertEqual({key: read("config.json").get(key) for key in config}, config)
            self.assertEqual([module["type"].split(".")[-1] for module in read("modules.json")], ["Transformer", "Pooling"])
            self.assertTrue(read("1_Pooling/config.json")["pooling_mode_mean_tokens"])
            again, _ = self.convert(back, dtype + "-again.gguf")
            first, second = read_gguf(gguf), read_gguf(again)
            self.assertEqual({name: values(tensor) for name, tensor in first[1].items()}, {name: values(tensor) for name, tensor in second[1].items()})
            name = "general.name"
            self.assertEqual({**first[0], name: ""} | {"general.file_type": 0}, {**second[0], name: ""} | {"general.file_type": 0})

    def test_gguf_says_what_llama_cpp_asks_for(self):
        metadata, tensors = read_gguf(self.convert(self.folder(dtype="BF16", pooling="cls_token"), "a.gguf")[0])
        expected = {"general.architecture": "bert", "bert.block_count": LAYERS, "bert.context_length": POSITIONS, "bert.embedding_length": HIDDEN,
                    "bert.feed_forward_length": WIDE, "bert.attention.head_count": HEADS, "bert.attention.causal": False, "bert.pooling_type": 2,
                    "tokenizer.ggml.model": "bert", "tokenizer.ggml.token_type_count": TYPES, "tokenizer.ggml.normalizer.lowercase": True,
                    "tokenizer.ggml.normalizer.strip_accents": True, "tokenizer.ggml.bos_token_id": 2, "tokenizer.ggml.cls_token_id": 2,
                    "tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.seperator_token_id": 3, "tokenizer.ggml.unknown_token_id": 1,
                    "tokenizer.ggml.padding_token_id": 0, "tokenizer.ggml.mask_token_id": 4}
        self.assertEqual({key: metadata.get(key) for key in expected}, expected)
        self.assertAlmostEqual(metadata["bert.attention.layer_norm_epsilon"], 1e-12, delta=1e-19)
        self.assertEqual(metadata["tokenizer.ggml.tokens"], [*SPECIAL, *(token[2:] if token.startswith("##") else "\u2581" + token for token in VOCAB[5:])])
        self.assertEqual(metadata["tokenizer.ggml.token_type"], [3] * len(SPECIAL) + [1] * (len(VOCAB) - len(SPECIAL)))
        # rows that are added, and vectors, are F32 to llama.cpp
        kinds = {name: kind for name, (kind, _, _) in tensors.items()}
        self.assertEqual({kinds.pop(name) for name in ("position_embd.weight", "token_types.weight")}, {"F32"})
        self.assertEqual({kind for name, kind in kinds.items() if len(tensors[name][1]) == 2}, {"BF16"})
        self.assertEqual(tensors["token_types.weight"][1], [TYPES, HIDDEN])
        self.assertEqual(tensors["blk.1.ffn_up.weight"][1], [WIDE, HIDDEN])

    def test_types_are_for_matrices_and_the_token_embedding(self):
        folder = self.folder()
        _, result = self.convert(folder, "a.gguf", "--type", "Q8_0", check=4)
        self.assertIn(f"{6 * LAYERS + 1} x F32 rounded to Q8_0 (embeddings.word_embeddings.weight", result.stderr)
        _, tensors = read_gguf(self.convert(folder, "a.gguf", "--type", "Q8_0", "--lossy")[0])
        kinds = {name: kind for name, (kind, shape, _) in tensors.items() if len(shape) == 2}
        self.assertEqual({name for name, kind in kinds.items() if kind == "F32"}, {"position_embd.weight", "token_types.weight"})
        self.assertEqual(set(kinds.values()), {"F32", "Q8_0"})
        source, embedding = read_tensors(folder)["embeddings.word_embeddings.weight"], tensors["token_embd.weight"][2]
        for at, value in enumerate(values(source)):
            scale, = struct.unpack_from("<e", embedding, at // 32 * 34)
            self.assertLess(abs(scale * struct.unpack_from("<b", embedding, at // 32 * 34 + 2 + at % 32)[0] - value), 0.6 * abs(scale))

    def test_f16_is_exact_where_the_values_are_halves(self):
        _, tensors = read_gguf(self.convert(self.folder(), "a.gguf", "--dtype", "f16")[0])
        self.assertEqual({kind for name, (kind, _, _) in tensors.items() if name.startswith("blk.") and name.endswith(".weight") and "norm" not in name}, {"F16"})

    def test_old_names_are_taken_and_what_stays_behind_is_a_loss_unless_modules_json_says_more(self):
        old = {}
        for name, shape in {**shapes(), **POOLER}.items():
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            old["bert." + name] = shape
        old["cls.predictions.bias"] = [len(VOCAB)]
        tensors = random_tensors("F32", old)
        tensors["bert.embeddings.position_ids"] = ("I64", [1, POSITIONS], struct.pack(f"<{POSITIONS}q", *range(POSITIONS)))
        folder = self.folder("old", tensors=tensors, modules=None, architectures=["BertForMaskedLM"])
        out, result = self.convert(folder, "a.gguf", check=4)
        self.assertIn("3 tensors would be lost (bert.pooler.dense.weight ...)", result.stderr)
        self.assertFalse(out.exists())
        out, result = self.convert(folder, "a.gguf", "--lossy")
        self.assertIn("3 tensors behind the last block are left out", result.stderr)
        self.assertIn("--pooling mean or cls", result.stderr)
        metadata, written = read_gguf(out)
        self.assertNotIn("bert.pooling_type", metadata)
        self.assertEqual(len(written), len(shapes()))
        self.assertEqual(values(written["token_embd_norm.bias"]), values(tensors["bert.embeddings.LayerNorm.beta"]))
        # with modules.json the vector needs no more
        _, result = self.convert(self.folder("new", tensors=tensors), "b.gguf")
        self.assertIn("the text's vector is made without them", result.stderr)

    def test_longer_texts_and_prompts_are_spoken_of(self):
        folder = self.folder()
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
        (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}, "default_prompt_name": "query"}')
        _, result = self.convert(folder, "a.gguf")
        self.assertIn("cuts texts off after 16 tokens", result.stderr)
        self.assertIn('puts "query: " before every text', result.stderr)

    def test_folders_stay_folders(self):
        folder = self.folder()
        out, _ = self.convert(folder, "half", "--format", "hf", "--dtype", "f16")
        self.assertEqual(read_tensors(out).keys(), read_tensors(folder).keys())
        self.assertTrue((out / "1_Pooling" / "config.json").exists())

    def test_inspect_says_what_it_is(self):
        folder = self.folder(pooling="cls_token")
        for model in (folder, self.convert(folder, "a.gguf")[0]):
            shown = json.loads(run("inspect", model, "--json").stdout)
            self.assertEqual({key: shown["architecture"][key] for key in ("supported", "encoder", "model_type", "layers", "heads", "vocab", "context", "pooling")},
                             {"supported": True, "encoder": True, "model_type": "bert", "layers": LAYERS, "heads": HEADS, "vocab": len(VOCAB),
                              "context": POSITIONS, "pooling": "cls"})
            self.assertEqual(shown["tokenizer"], {"supported": True, "kind": "WordPiece", "tokens": len(VOCAB)})
            self.assertEqual(shown["unreadable"], 0)
            self.assertIn("pooling cls; an encoder: Pare converts it and does not run it", run("inspect", model).stdout)
        self.assertIn("pooling not said", run("inspect", self.folder("bare", modules=None)).stdout)

    def test_whatever_runs_a_model_says_that_it_does_not_run_encoders(self):
        folder = self.folder()
        commands = [["run", "M", "hello"], ["serve", "M", "--port", 0], ["bench", "M"]]
        if os.path.exists(os.path.join(os.path.dirname(os.environ["PARE"]), "pare-torch")):
            commands += [["compress", "M", "-o", self.fresh("out"), "--bits", 4], ["compress", "M", "-o", self.fresh("out"), "--type", "Q4_0", "--dry-run"],
                         ["eval", "M", "--text", self.text], ["calibrate", "M", "-o", self.fresh("i.gguf"), "--calib", self.text]]
        for model in (folder, self.convert(folder, "a.gguf")[0]):
            for words in commands:
                self.assertRegex(run(*(model if word == "M" else word for word in words), check=4).stderr, "encoder")

    def test_what_is_wrong_has_its_error(self):
        missing, narrow = shapes(), shapes()
        del missing["encoder.layer.1.output.dense.bias"]
        narrow["embeddings.position_embeddings.weight"] = [POSITIONS - 1, HIDDEN]
        twice = {**shapes(), "bert.embeddings.LayerNorm.gamma": [HIDDEN]}
        dense = [*MODULES, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
        for code, message, made in ((4, 'position_embedding_type "relative_key"', {"position_embedding_type": "relative_key"}),
                                    (4, 'hidden_act "relu"', {"hidden_act": "relu"}), (4, "is_decoder", {"is_decoder": True}),
                                    (3, "is not a multiple of num_attention_heads", {"num_attention_heads": 5}),
                                    (4, "pooling_mode_max_tokens", {"pooling": "max_tokens"}), (4, "module sentence_transformers.models.Dense", {"modules": dense}),
                                    (3, "encoder.layer.1.output.dense.bias is missing", {"names": missing}),
                                    (3, f"position_embeddings.weight has shape [{POSITIONS - 1}, {HIDDEN}]", {"names": narrow}),
                                    (3, "embeddings.LayerNorm.weight is there twice", {"names": twice})):
            out, result = self.convert(self.folder(**made), "a.gguf", check=code)
            self.assertIn(message, result.stderr)
            self.assertFalse(out.exists())
        folder = self.folder()
        for format in ("gptq", "compressed-tensors"):
            self.assertIn(f"written as hf and gguf, not as {format}", self.convert(folder, "out", "--format", format, check=4)[1].stderr)
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_text("\n".join(VOCAB))
        self.assertIn("vocab.txt alone is not read", self.convert(folder, "a.gguf", check=3)[1].stderr)


if __name__ == "__main__":
    unittest.main()
