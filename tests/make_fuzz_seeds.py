"""The seeds of the fuzz targets for binary files, configs and JSON schemas: small valid inputs, all made up, in tests/fuzz_seeds/NAME.

    python tests/make_fuzz_seeds.py

Writes over the seeds that it makes and leaves others alone. How a target reads its input is said in its *_fuzz.cpp.
"""
import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).resolve().parent / "fuzz_seeds"


def write(target, name, data):
    (SEEDS / target).mkdir(parents=True, exist_ok=True)
    (SEEDS / target / name).write_bytes(data)


def made_up(count, seed=1):
    """Bytes that repeat late, from the multiplier of Numerical Recipes."""
    data, state = bytearray(), seed
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data.append(state >> 24)
    return bytes(data)


def halves(count, first=0.5):
    return struct.pack(f"<{count}e", *(first + i / 64 for i in range(count)))


def bfloats(count, first=0.5):
    return b"".join(struct.pack("<f", first + i / 64)[2:] for i in range(count))


def floats(count, first=0.5):
    return struct.pack(f"<{count}f", *(first + i / 64 for i in range(count)))


# --- safetensors

def safetensors(tensors, metadata=None, padding=0):
    """`tensors`: (name, dtype, shape, bytes)."""
    header, at = {} if metadata is None else {"__metadata__": metadata}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors)


def safetensors_seeds():
    write("safetensors", "usual", safetensors(
        [("model.embed_tokens.weight", "BF16", [3, 4], bfloats(12)), ("model.norm.weight", "F32", [4], floats(4)),
         ("h", "F16", [2, 2], halves(4))], {"format": "pt"}, padding=5))
    sizes = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
             "F32": 4, "I64": 8, "U64": 8, "F64": 8, "F8_E8M0": 1, "C64": 8}
    write("safetensors", "all_types", safetensors(
        [(name.lower(), name, [2, 1], b"\0" * 2 * size) for name, size in sizes.items()] + [("f4", "F4", [2, 2], b"\x12\x34")]))
    write("safetensors", "scalar_and_empty", safetensors(
        [("scalar", "I64", [], struct.pack("<q", -7)), ("none", "F32", [0, 5], b""), ("deep", "U8", [1, 2, 1, 3], b"abcdef")]))
    write("safetensors", "no_tensors", safetensors([], {}))


# --- GGUF

TYPES = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"),
         "bool": (7, "B"), "text": (8, None), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
          "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
          "I32": (26, 1, 4), "BF16": (30, 1, 2)}  # id, values and bytes of a block


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_scalar(kind, value):
    return gguf_text(value) if kind == "text" else struct.pack("<" + TYPES[kind][1], value)


def gguf_value(kind, value):
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, TYPES[kind][0], len(value)) + b"".join(gguf_scalar(kind, item) for item in value)
    return struct.pack("<I", TYPES[kind][0]) + gguf_scalar(kind, value)


def gguf(metadata, tensors, version=3, alignment=32):
    """`metadata`: key -> (kind, value or list); `tensors`: (name, type, shape as torch has it)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        head += gguf_text(key) + gguf_value(kind, value)
    data = b""
    for number, (name, kind, shape) in enumerate(tensors):
        identity, values, size = BLOCKS[kind]
        data += b"\0" * (-len(data) % alignment)
        head += gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], identity, len(data))
        count = 1
        for dim in shape:
            count *= dim
        # of small numbers: a scale of two such bytes is finite in any type
        data += bytes(byte & 0x3F for byte in made_up(count // values * size, number))
    return head + b"\0" * (-len(head) % alignment) + data


def llama(**more):
    return {"general.architecture": ("text", "llama"), "llama.block_count": ("u32", 1), "llama.context_length": ("u32", 64),
            "llama.embedding_length": ("u32", 32), "llama.feed_forward_length": ("u32", 32), "llama.attention.head_count": ("u32", 2),
            "llama.attention.head_count_kv": ("u32", 1), "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
            "llama.rope.dimension_count": ("u32", 16), **{f"tokenizer.{key}": value for key, value in more.items()}}


def gguf_seeds():
    every = {"general.architecture": ("text", "none"), "general.alignment": ("u32", 8)}
    for kind in TYPES:
        value = "a text" if kind == "text" else 1
        every[f"one.{kind}"] = (kind, value)
        every[f"many.{kind}"] = (kind, [value, value])
    every["many.none"] = ("f32", [])
    write("gguf", "all_values", gguf(every, [("x", "F32", [3])], alignment=8))
    write("gguf", "all_blocks", gguf({}, [(kind, kind, [1, values]) for kind, (_, values, _) in BLOCKS.items()]))
    write("gguf", "llama", gguf(llama(), [("token_embd.weight", "Q8_0", [4, 32]), ("blk.0.attn_q.weight", "Q4_0", [32, 32]),
                                          ("output_norm.weight", "F32", [32])]))
    write("gguf", "version_2", gguf({"general.name": ("text", "old")}, [("x", "F16", [2, 2])], version=2))
    write("gguf", "nothing", gguf({}, []))


def model_files_seeds():
    """Whole models in GGUF, with both kinds of tokenizer."""
    tensors = [("token_embd.weight", "Q8_0", [12, 32]), ("blk.0.attn_norm.weight", "F32", [32]), ("blk.0.attn_q.weight", "Q4_0", [32, 32]),
               ("blk.0.attn_k.weight", "Q4_1", [16, 32]), ("blk.0.ffn_down.weight", "F16", [32, 32]), ("output_norm.weight", "F32", [32])]
    pieces = ["<s>", "</s>", "a", "b", "c", "\u0120", "ab", "\u0120a", "abc", "x", "y", "z"]
    byte_level = llama(**{
        "ggml.model": ("text", "gpt2"), "ggml.pre": ("text", "smollm"), "ggml.tokens": ("text", pieces),
        "ggml.token_type": ("i32", [3, 3] + [1] * 10), "ggml.merges": ("text", ["a b", "\u0120 a", "ab c"]),
        "ggml.bos_token_id": ("u32", 0), "ggml.eos_token_id": ("u32", 1), "ggml.add_bos_token": ("bool", 1),
        "chat_template": ("text", "{{ messages }}")})
    write("model_files", "gguf_byte_level", gguf(byte_level, tensors))

    def part(number):
        return {"split.no": ("u16", number), "split.count": ("u16", 2), "split.tensors.count": ("i32", len(tensors))}
    write("model_files", "gguf_in_parts", gguf({**byte_level, **part(0)}, tensors[:2]) + gguf(part(1), tensors[2:]))
    write("model_files", "gguf_metadata_apart", gguf({**byte_level, **part(0)}, []) + gguf(part(1), tensors))
    pieces = ["<unk>", "<s>", "</s>", "<0x41>", "<0x0A>", "\u2581", "a", "b", "ab", "\u2581a", "\u2581ab", "z"]
    write("model_files", "gguf_sentencepiece", gguf(llama(**{
        "ggml.model": ("text", "llama"), "ggml.tokens": ("text", pieces), "ggml.scores": ("f32", [0.0] * 5 + [-float(i) for i in range(7)]),
        "ggml.token_type": ("i32", [2, 3, 3, 6, 6] + [1] * 7), "ggml.unknown_token_id": ("u32", 0), "ggml.bos_token_id": ("u32", 1),
        "ggml.add_space_prefix": ("bool", 0)}), tensors))


def encoder_seeds():
    """BERT, in GGUF with its vocabulary, and its config."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581play", "ing", "\u2581[unused0]", "[PAD7]"]
    ids = {"bos": 2, "cls": 2, "eos": 3, "seperator": 3, "unknown": 1, "padding": 0}
    write("model_files", "gguf_encoder", gguf({
        "general.architecture": ("text", "bert"), "bert.block_count": ("u32", 1), "bert.context_length": ("u32", 4), "bert.embedding_length": ("u32", 32),
        "bert.feed_forward_length": ("u32", 32), "bert.attention.head_count": ("u32", 2), "bert.attention.layer_norm_epsilon": ("f32", 1e-12),
        "bert.attention.causal": ("bool", 0), "bert.pooling_type": ("u32", 1), "tokenizer.ggml.token_type_count": ("u32", 2),
        "tokenizer.ggml.model": ("text", "bert"), "tokenizer.ggml.tokens": ("text", tokens), "tokenizer.ggml.token_type": ("i32", [3] * 4 + [1] * 3 + [5]),
        "tokenizer.ggml.normalizer.lowercase": ("bool", 0), **{f"tokenizer.ggml.{name}_token_id": ("u32", number) for name, number in ids.items()}},
        [("token_embd.weight", "Q8_0", [8, 32]), ("position_embd.weight", "F32", [4, 32]), ("token_types.weight", "F32", [2, 32]),
         ("token_embd_norm.bias", "F32", [32]), ("blk.0.ffn_up.weight", "Q4_0", [32, 32])]))
    write("decoder_config", "encoder.json", json.dumps({
        "model_type": "bert", "vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_act": "gelu",
        "max_position_embeddings": 4, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "is_decoder": False}, indent=1).encode())


def folder(name, quantization, tensors, metadata=None):
    """As model_files_fuzz.cpp reads a folder: the length of config.json, config.json, model.safetensors."""
    config = json.dumps({"model_type": "llama", "quantization_config": quantization}).encode()
    config += b" " * (len(config) % 256 == ord("G"))  # else the whole would be taken for a GGUF
    write("model_files", name, struct.pack("<H", len(config)) + config + safetensors(tensors, metadata))


def folder_seeds():
    """Quantized layers as other software stores them."""
    folder("awq", {"quant_method": "awq", "bits": 4, "group_size": 4, "version": "gemm"},
           [("m.qweight", "I32", [8, 2], made_up(64)), ("m.qzeros", "I32", [2, 2], made_up(16)), ("m.scales", "F16", [2, 16], halves(32))])
    block = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [2, 4]}
    folder("float-quantized", {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"g": {"weights": block}}},
           [("m.weight", "F8_E4M3", [3, 8], made_up(24)), ("m.weight_scale", "BF16", [2, 2], bfloats(4)), ("m.input_scale", "BF16", [1], bfloats(1))])
    folder("fp8", {"quant_method": "fp8", "weight_block_size": [4, 4]},
           [("m.weight", "F8_E4M3", [3, 8], made_up(24)), ("m.weight_scale_inv", "F32", [1, 2], floats(2))])
    folder("int-quantized", {"quant_method": "compressed-tensors", "format": "int-quantized"},
           [("m.weight", "I8", [3, 8], made_up(24)), ("m.weight_scale", "BF16", [3, 1], bfloats(3)), ("m.weight_zero_point", "I8", [3, 1], made_up(3))])
    state = b'{"quant_type":"nf4","blocksize":8,"shape":[3,8],"nested_blocksize":2,"nested_offset":0.25}'
    folder("nf4", {"quant_method": "bitsandbytes", "load_in_4bit": True},
           [("m.weight", "U8", [12, 1], made_up(12)), ("m.weight.absmax", "U8", [3], made_up(3)), ("m.weight.quant_map", "F32", [16], floats(16)),
            ("m.weight.nested_absmax", "F32", [2], floats(2)), ("m.weight.nested_quant_map", "F32", [256], floats(256)),
            ("m.weight.quant_state.bitsandbytes__nf4", "U8", [len(state)], state)])
    folder("aqlm", {"quant_method": "aqlm", "in_group_size": 2, "num_codebooks": 2, "nbits_per_codebook": 3},
           [("m.codes", "I8", [2, 3, 2], made_up(12)), ("m.codebooks", "F16", [2, 8, 1, 2], halves(32)), ("m.scales", "F16", [2, 1, 1, 1], halves(2))])
    ints = {"base": "grouped_ints", "bits": 3, "ternary": False, "group": 4, "symmetric": False, "permuted": True, "scale_dtype": "F16"}
    forms = {"a": {**ints, "shape": [2, 8]}, "b": {**ints, "shape": [2, 8], "permuted": False, "mask": {"n": 2, "m": 4, "kept": 8}},
             "c": {"base": "dense", "dtype": "BF16", "shape": [2, 8], "mask": {"n": 0, "m": 0, "kept": 5}},
             "d": {"base": "gguf_blocks", "type": "Q4_0", "shape": [2, 32]},
             "e": {"base": "additive_codes", "bits": 3, "books": 2, "out_group": 1, "in_group": 2, "dtype": "F16", "scale_dtype": "F16", "shape": [2, 6]}}
    folder("pare", {"quant_method": "pare"}, [
        ("a.codes", "U8", [2, 3], made_up(6)), ("a.scales", "F16", [2, 2], halves(4)), ("a.zeros", "U8", [2], made_up(2)),
        ("a.group_index", "I32", [8], struct.pack("<8i", 0, 1, 1, 0, 0, 1, 0, 1)),
        ("b.codes", "U8", [3], made_up(3)), ("b.scales", "F16", [2, 2], halves(4)), ("b.zeros", "U8", [2], made_up(2)), ("b.mask", "U8", [2, 1], bytes([0x53, 0xAC])),
        ("c.values", "BF16", [5], bfloats(5)), ("c.mask", "U8", [2, 1], bytes([0x07, 0x03])),
        ("d.blocks", "U8", [2, 18], halves(1) + made_up(16) + halves(1) + made_up(16)),
        ("e.codes", "I8", [2, 3, 2], made_up(12)), ("e.codebooks", "F16", [2, 8, 1, 2], halves(32)), ("e.scales", "F16", [2, 1, 1, 1], halves(2))],
        {"pare_format": "1", "weights": json.dumps(forms)})


# --- config.json

def config_seeds():
    small = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 2048, "rms_norm_eps": 1e-05, "tie_word_embeddings": False}
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}
    gemma = {**small, "model_type": "gemma3_text", "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 512,
             "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 1000000.0}
    configs = {
        "llama": {**small, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
                  "rope_theta": 500000.0, "rope_scaling": llama3},
        "mistral": {**small, "model_type": "mistral", "sliding_window": None, "head_dim": 32},
        "qwen2": {**small, "model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 2, "sliding_window": 128,
                  "rope_scaling": yarn},
        "qwen3": {**small, "model_type": "qwen3", "head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        "smollm3": {**small, "model_type": "smollm3", "no_rope_layers": [1, 1, 0], "layer_types": ["full_attention"] * 3},
        "gemma2": {**gemma, "model_type": "gemma2", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        "gemma3": {**gemma, "rope_local_base_freq": 10000.0, "sliding_window_pattern": 2, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        "nested": {"model_type": "gemma3", "text_config": {**gemma, "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}},
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}},
        "defaults": {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}},
    }
    for name, config in configs.items():
        write("decoder_config", name + ".json", json.dumps(config, indent=1).encode())
    write("json", "config.json", json.dumps(configs["nested"]).encode())
    write("json", "index.json", json.dumps({"metadata": {"total_size": 96}, "weight_map": {
        "model.norm.weight": "model-00001-of-00002.safetensors", "lm_head.weight": "model-00002-of-00002.safetensors"}}, indent=2).encode())
    write("json", "values.json", b'[null, true, false, 0, -0, 1e-5, -1.5E+300, 18446744073709551615, -9223372036854775808, "", '
                                 b'"\\u00e9\\ud83d\\ude00\\n\\"\\\\/", "\xc3\xa9\xf0\x9f\x98\x80", [], {}, {"": [[[{"a": {}}]]]}]')
    write("json", "duplicate.json", b'{"a": 1, "b": {"a": 2}, "a": 3}')
    write("json", "depth.json", b"[" * 60 + b"]" * 60)


# --- layouts of quantized and pruned weights

def view(shape, data):
    """As Input::view() reads it: a byte that keeps the usual dtype and rank, the shape, the data."""
    return b"\x00" + bytes(shape) + data


def head(kind, flags, bits, group):
    return bytes([kind, flags, bits, group + 1])


def ints(values):
    return struct.pack(f"<{len(values)}i", *values)


def layout_seeds():
    gptq, pack, bitmask, gguf = 0, 1, 2, 3
    symmetric, act_order, v2, overridden, indexed = 2, 4, 8, 16, 1
    eights = struct.pack("<I", 0x88888888)
    write("model_layouts", "gptq", head(gptq, symmetric, 4, 8) + view([2, 8], made_up(64)) + view([2, 1], 2 * struct.pack("<I", 0x77777777)) +
          view([2, 8], halves(16)))
    write("model_layouts", "gptq_v2_asymmetric_act_order",
          head(gptq, indexed | act_order | v2, 4, 8) + view([2, 8], made_up(64)) + view([2, 1], made_up(8)) + view([2, 8], halves(16)) +
          view([16], ints([i % 2 for i in range(16)])))
    write("model_layouts", "gptq_3_bits", head(gptq, 0, 3, -1) + view([3, 32], made_up(384)) + view([1, 3], made_up(12)) + view([1, 32], halves(32)))
    write("model_layouts", "gptq_overridden", head(gptq, overridden | symmetric, 8, 4) + view([4, 8], made_up(128)) + view([2, 1], 2 * eights) +
          view([2, 8], halves(16)))

    shape = lambda rows, cols: view([2], struct.pack("<2q", rows, cols))
    write("model_layouts", "pack", head(pack, 0, 4, 8) + view([3, 2], made_up(24)) + view([3, 2], bfloats(6)) + shape(3, 16))
    write("model_layouts", "pack_asymmetric", head(pack, 1, 4, 8) + view([3, 2], made_up(24)) + view([3, 2], bfloats(6)) +
          view([1, 2], struct.pack("<2I", 0x00000841, 0x00000777)) + shape(3, 16))
    write("model_layouts", "pack_bytes_for_zeros", head(pack, 1 | 2, 4, 8) + view([3, 2], made_up(24)) + view([3, 2], bfloats(6)) +
          view([3, 2], struct.pack("<6b", 0, -8, 7, 1, -1, 3)) + shape(3, 16))
    write("model_layouts", "pack_indexed", head(pack, 4, 4, 8) + view([3, 2], made_up(24)) + view([3, 2], bfloats(6)) +
          view([16], ints([i % 2 for i in range(16)])) + shape(3, 16))
    # 3 bits, 21 inputs: 63 bits as a stream, ten codes a word as older versions wrote them
    codes = [byte % 8 for byte in made_up(21)]
    stream = sum(code << 3 * i for i, code in enumerate(codes)).to_bytes(8, "little")
    words = b"".join(struct.pack("<I", sum(code << 3 * i for i, code in enumerate(codes[at:at + 10]))) for at in (0, 10, 20))
    write("model_layouts", "pack_3_bits", head(pack, 0, 3, -1) + view([1, 2], stream) + view([1, 1], bfloats(1)) + shape(1, 21))
    write("model_layouts", "pack_3_bits_whole_codes", head(pack, 0, 3, -1) + view([1, 3], words) + view([1, 1], bfloats(1)) + shape(1, 21))

    offsets = view([2], struct.pack("<2q", 0, 4))
    write("model_layouts", "bitmask", head(bitmask, 1, 0, 0) + view([1, 7], halves(7)) + view([2, 2], bytes([0x8A, 0x01, 0x03, 0x02])) +
          offsets + shape(2, 10))
    write("model_layouts", "bitmask_2_of_4", head(bitmask, 0, 0, 0) + view([2, 4], halves(8)) + view([2, 1], bytes([0x53, 0xAC])) +
          view([2, 1], struct.pack("<2q", 2, 8)))

    awq, fp8, int8, nf4, aqlm = 4, 5, 6, 7, 8
    write("model_layouts", "awq", head(awq, 0, 4, 4) + view([8, 2], made_up(64)) + view([2, 2], made_up(16)) + view([2, 16], halves(32)))
    write("model_layouts", "fp8_rows", head(fp8, 0, 0, 0) + view([3, 8], made_up(24)) + view([3, 1], bfloats(3)))
    write("model_layouts", "fp8_blocks", head(fp8, 0, 1, 4) + view([3, 8], made_up(24)) + view([2, 2], bfloats(4)))
    write("model_layouts", "int8", head(int8, 0, 0, 0) + view([3, 8], made_up(24)) + view([3, 1], bfloats(3)))
    write("model_layouts", "int8_groups", head(int8, 1, 0, 4) + view([3, 8], made_up(24)) + view([3, 2], bfloats(6)) + view([3, 2], made_up(6)))
    state = b'{"quant_type":"nf4","blocksize":8,"shape":[3,8],"nested_blocksize":2,"nested_offset":0.25}'
    numbers = lambda count: struct.pack(f"<{count}f", *[0.5 + i for i in range(count)])
    write("model_layouts", "nf4", head(nf4, 0, 0, 0) + view([12, 1], made_up(12)) + view([3], numbers(3)) + view([16], numbers(16)) +
          view([len(state)], state))
    write("model_layouts", "nf4_nested", head(nf4, 1, 0, 0) + view([12, 1], made_up(12)) + view([3], made_up(3)) + view([16], numbers(16)) +
          view([2], numbers(2)) + view([len(state)], state))
    write("model_layouts", "aqlm", head(aqlm, 2, 3, 0) + view([2, 3, 2], made_up(12)) + view([2, 8, 1, 2], halves(32)) + view([2, 1, 1, 1], halves(2)))

    blocks = {"iq2_xxs": (16, 66), "iq2_xs": (17, 74), "iq3_xxs": (18, 98), "iq1_s": (19, 50), "iq3_s": (21, 110), "iq2_s": (22, 82), "iq1_m": (29, 56),
              "tq1_0": (34, 54), "mxfp4": (39, 17), "nvfp4": (40, 36), "q6_k": (14, 210)}
    for number, (name, (kind, size)) in enumerate(blocks.items()):
        write("model_layouts", "gguf_" + name, head(gguf, kind, 0, 0) + view([size], made_up(size, number)))


# --- chat templates: | template 0x00 {"messages", "tools"} |

def chat_template_seeds():
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"properties": {"a": {"type": "string"}}}}}
    call = {"id": "call12345", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    request = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "ü"}, {"role": "assistant", "content": "<think>t</think>a", "tool_calls": [call]},
                            {"role": "tool", "content": "r"}, {"role": "user", "content": [{"type": "text", "text": "p"}]}], "tools": [tool]}
    alone = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    for path in sorted((SEEDS.parent / "oracles" / "chat_templates").glob("*.jinja")):
        write("chat_template", path.stem, path.read_bytes() + b"\0" + json.dumps(request if "tools" in path.stem else alone).encode())
    pieces = {
        "filters": "{{ [3, 'b', none]|select|list|tojson(indent=2)|indent(2)|trim|replace('b', 'c') }}{{ {'a': 1}|dictsort|map('first')|join(',') }}"
                   "{{ [2, 1]|sort|sum|abs|round(1) }}{{ ['a', 'A']|unique|list|reverse|first|title|int(3)|float }}",
        "methods": "{{ ' a b'.split()[-1].strip('b').replace('', 'x').find('x') }}{{ '%s %5.2f|%-3d' % (1, 2.5, 3) }}{{ '{} {x!r}'.format(1, x='a') }}"
                   "{{ {'a': 1}.items()|list }}{{ 'a,b'.rsplit(',', 1) }}{{ 'aΣ'.lower().title().center(9)[::-2] }}",
        "statements": "{%- macro m(a, b=2) -%}{{ a ~ b }}{{ caller() if caller }}{%- endmacro -%}{% call m(1) %}x{% endcall %}{% set n = namespace(i=0) %}"
                      "{% for a, b in [(1, 2)] if a < b < 3 %}{% set n.i = n.i + loop.index %}{% break %}{% else %}{% endfor %}{% raw %}{{{% endraw %}"
                      "{% filter upper %}a{% endfilter %}{% with q = 1 %}{{ q is divisibleby 3 }}{% endwith %}{# c #}{% set s | trim %} a {% endset %}{{ s }}",
        "values": "{{ [1, 2.5e-7, 'a\\x41\\u00e9', none, true, (1,), {'k': -7 // 2 ** 2 % 3}, range(3), missing] }}{{ 'a' in 'ab' and not 1 == 1.0 or [1] < [2] }}",
    }
    for name, text in pieces.items():
        write("chat_template", name, text.encode())


# --- JSON schemas for output

def schema_seeds():
    """Each with the beginning of a text that follows it."""
    person = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
              "mood": {"enum": ["good", "bad", None, 1.5]}}, "required": ["name"], "additionalProperties": False}
    shape = {"$defs": {"shape": {"oneOf": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "r"]},
        {"type": "object", "properties": {"kind": {"const": "group"}, "of": {"type": "array", "items": {"$ref": "#/$defs/shape"}, "minItems": 1}},
         "required": ["kind", "of"]}]}}, "$ref": "#/$defs/shape"}
    schemas = {
        "person": (person, '{"name": "Ann", "age": 12'), "shape": (shape, '{"kind": "group", "of": [{"kind": "ci'),
        "others": ({"properties": {"a": True, "ab": {"type": ["null", "boolean"]}, "\u00e9": False}, "required": ["ab"],
                    "additionalProperties": {"type": "integer", "maximum": -3}}, '{"ab": null,"abc": -4, "\u00e8'),
        "tuple": ({"prefixItems": [{"type": "integer"}, {"type": "string", "minLength": 2}], "items": {"type": "null"}, "minItems": 1,
                   "maxItems": 5}, '[-7, "x\\u00e9", nul'),
        "any_of": ({"anyOf": [{"type": "number", "minimum": -20, "exclusiveMaximum": 7}, {"allOf": [{"const": [1, {"a": 2}]}]}, {"enum": ["x", "xy"]}]}, "-19.9"),
        "list": ({"type": "object", "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["next"]}, '{"next": {"next": '),
        "free": (True, '[{"a": [1e5, "\\ud83d\\ude00'), "endless": ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, ""),
        "itself": ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "")}
    for name, (schema, text) in schemas.items():
        write("json_grammar", name, json.dumps(schema, ensure_ascii=False).encode() + b"\0" + text.encode())


# --- the hub's answers

def hub_listing_seeds():
    """The first byte says which reader."""
    sha1, sha256 = "0123456789abcdef" * 2 + "01234567", "0123456789abcdef" * 4
    file = {"type": "file", "path": "config.json", "size": 12, "oid": sha1}
    weights = {"type": "file", "path": "model.safetensors", "size": 134, "oid": sha1, "xetHash": sha256,
               "lfs": {"oid": "sha256:" + sha256, "size": 5_000_000_000, "pointerSize": 134}}
    folder = {"type": "directory", "path": "a", "size": 0, "oid": sha1}
    ggufs = [{**weights, "path": name} for name in ("m-Q4_0.gguf", "a/m-Q8_0-00001-of-00002.gguf", "a/m-Q8_0-00002-of-00002.gguf", "mmproj-m.gguf")]
    for name, entries in {"model": [folder, file, weights, {**file, "path": "a/b c.json"}], "one_gguf": ggufs[1:], "ggufs": ggufs,
                          "pickle": [file, {**weights, "path": "pytorch_model.bin"}]}.items():
        write("hub_listing", name, b"t" + json.dumps(entries).encode())
    write("hub_listing", "commit", b"c" + json.dumps({"id": "org/name", "sha": sha1, "siblings": [{"rfilename": "config.json"}]}).encode())
    write("hub_listing", "link", b"l<https://hub/api?cursor=a>; rel=\"next\", <https://hub/api>; rel=\"last\"")


# --- importance matrices

def importance_matrix_seeds():
    def entry(name, calls, values):
        return struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values)) + struct.pack(f"<{len(values)}f", *values)
    entries = struct.pack("<i", 2) + entry("blk.0.attn_q.weight", 2, [0.5, 1, 2]) + entry("blk.0.ffn_up.weight", 0, [3.0])
    write("importance_matrix", "old_bare", entries)
    write("importance_matrix", "old", entries + struct.pack("<ii", 2, 8) + b"wiki.txt")
    about = {"general.type": ("text", "imatrix"), "imatrix.datasets": ("text", ["wiki.txt"]), "imatrix.chunk_count": ("u32", 2),
             "imatrix.chunk_size": ("u32", 512)}
    write("importance_matrix", "gguf", gguf(about, [
        ("blk.0.attn_q.weight.in_sum2", "F32", [4]), ("blk.0.attn_q.weight.counts", "F32", [1]),
        ("blk.0.ffn_up_exps.weight.in_sum2", "F32", [3, 2]), ("blk.0.ffn_up_exps.weight.counts", "F32", [3, 1])]))
    write("importance_matrix", "gguf_sums_alone", gguf(about, [("output.weight.in_sum2", "F32", [4])]))


for make in (importance_matrix_seeds, hub_listing_seeds, chat_template_seeds, safetensors_seeds, gguf_seeds, model_files_seeds, encoder_seeds, folder_seeds, config_seeds, layout_seeds, schema_seeds):
    make()
