#!/usr/bin/env python3
"""Makes a tokenizer.json of each family's exact pipeline, with a vocabulary trained here (the real ones are not small).

    pip install tokenizers==0.23.3
    tokenizer_families.py OUT [--text FILE] [--vocab 6000]

Normalizer, pre-tokenizer, post-processor, decoder, flags and special tokens are those of the published files of GPT-2,
SmolLM, Llama-3, Qwen2, Tekken (Mistral Nemo), Llama-2 (old and new export), Mistral and Gemma. Beside them a few made-up
ones for what these do not use. Also made: gguf_llama.gguf, a SentencePiece vocabulary in GGUF metadata.
"""
import argparse
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel.alphabet()
BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]
MARK = "\u2581"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=use_regex)


def special(*names, **flags):
    return [AddedToken(n, special=True, normalized=False, **flags) for n in names]


def template(tokenizer, bos, eos=None):
    ids = [(t, tokenizer.token_to_id(t)) for t in (bos, eos) if t]
    tail = f" {eos}" if eos else ""
    return processors.TemplateProcessing(single=f"{bos} $A{tail}", pair=f"{bos} $A{tail} {bos} $B:1{tail}", special_tokens=ids)


def byte_bpe(lines, vocab, pre, specials, normalizer=None, post=None, more=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=BYTES, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens(specials)
    tokenizer.add_tokens(list(more))
    tokenizer.decoder = decoders.ByteLevel()
    if post:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def trained_merges(lines, vocab):
    """Pieces and merges of SentencePiece's kind: words begin with the mark, no byte-level alphabet."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(MARK, "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=vocab, limit_alphabet=700, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    made = {a + b for a, b in model["merges"]}
    ordered = list(dict.fromkeys(a + b for a, b in model["merges"]))
    return [p for p in pieces if p not in made], ordered


def sentencepiece_vocabulary(lines, vocab, first):
    """Ids and scores as SentencePiece's BPE gives them: control, bytes, pieces by merge, characters last."""
    characters, made = trained_merges(lines, vocab)
    runs = [MARK * n for n in range(2, 17)]
    pieces = first + BYTE_PIECES + [p for p in runs if p not in made] + made + [c for c in characters if c not in first]
    pieces = list(dict.fromkeys(pieces))
    start = len(first) + 256
    scores = {p: float(-(i - start)) if i >= start else 0.0 for i, p in enumerate(pieces)}
    return {p: i for i, p in enumerate(pieces)}, scores


def merges_of(vocab, scores, normal):
    found = []
    for piece in normal:
        for i in range(1, len(piece)):
            if piece[:i] in vocab and piece[i:] in vocab:
                found.append((piece[:i], piece[i:], scores[piece]))
    found.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [(a, b) for a, b, _ in found]


def sentencepiece(lines, vocab, normalizer, pre, decoder, first, bos, added=(), unk="<unk>"):
    ids, scores = sentencepiece_vocabulary(lines, vocab, first)
    merges = merges_of(ids, scores, [p for p in ids if p not in first and p not in BYTE_PIECES])
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token=unk, fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(special(*first))
    tokenizer.add_tokens(list(added))
    tokenizer.post_processor = template(tokenizer, bos)
    return tokenizer


def llama_decoder(strip=True):
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] if strip else steps)


def multi_script(seed, lines):
    rng = random.Random(seed)
    words = ("the and of model weight привет мир данные слово это 你好 世界 模型 数据 こんにちは データ 한국어 모델 مرحبا بيانات नमस्ते डेटा "
             "ελληνικά γλώσσα été naïve straße İstanbul ไทยภาษา שלום עולם def return import self int main() { } std::vector<int> "
             "for (i=0; i<n; ++i) 12345 3.14 2026-11-23 🙂 👩‍👩‍👧‍👦 🇩🇪 don't we'll I'VE").split()
    for _ in range(lines):
        yield " ".join(rng.choice(words) for _ in range(rng.randint(3, 12)))


def families(lines, vocab):
    yield "gpt2", byte_bpe(lines, vocab, byte_level(), special("<|endoftext|>"), post=lambda t: processors.ByteLevel(trim_offsets=False))
    yield "smollm", byte_bpe(
        lines, vocab, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()]),
        special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"))
    yield "llama3", byte_bpe(
        lines, vocab, pre_tokenizers.Sequence([split(LLAMA3), byte_level(False)]),
        special("<|begin_of_text|>", "<|end_of_text|>", *[f"<|reserved_special_token_{i}|>" for i in range(250)]),
        post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=True), template(t, "<|begin_of_text|>")]),
        ignore_merges=True)
    yield "qwen2", byte_bpe(
        lines, vocab, pre_tokenizers.Sequence([split(QWEN2), byte_level(False)]),
        special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), more=[AddedToken("<tool_call>", normalized=False)],
        normalizer=normalizers.NFC(), post=lambda t: processors.ByteLevel(trim_offsets=False))
    yield "tekken", byte_bpe(
        lines, vocab, pre_tokenizers.Sequence([split(TEKKEN), byte_level(False)]), special("<unk>", "<s>", "</s>", "[INST]"),
        post=lambda t: template(t, "<s>"), ignore_merges=True)
    # Every way to be an added token, on GPT-2's pipeline with NFKC, lower case and a prefix space. (Not: special and changed
    # by normalization. tokenizers 0.23.3 forgets then that it is special, and decodes it where it should be left out.)
    yield "added", byte_bpe(
        lines, vocab, pre_tokenizers.ByteLevel(add_prefix_space=True),
        special("<|endoftext|>") + special("<mask>", lstrip=True) + special("<both>", lstrip=True, rstrip=True),
        more=[
            AddedToken("Tokyo", single_word=True, normalized=False), AddedToken("Right", rstrip=True),
            AddedToken("ＷＩＤＥ", normalized=True), AddedToken("<a>", normalized=False), AddedToken("<a><b>", normalized=False),
            AddedToken("  ", normalized=False), AddedToken("été", normalized=True, single_word=True)],
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        post=lambda t: template(t, "<|endoftext|>", "<|endoftext|>"))
    for name, steps in {
            "splits": [pre_tokenizers.Split("e", "merged_with_previous"), pre_tokenizers.Split(Regex(r"\d+"), "contiguous"),
                       pre_tokenizers.Split(Regex(r"[aeiou]"), "merged_with_next"), byte_level()],
            "splits_inverted": [pre_tokenizers.Split(Regex(r"\w+"), "removed", invert=True), pre_tokenizers.Digits(False),
                                pre_tokenizers.Split(Regex(r"[A-Z]+|\p{Lu}\p{Ll}*"), "contiguous", invert=True), byte_level()],
            "whitespace": [pre_tokenizers.Whitespace(), byte_level(False)],
            "whitespace_split": [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"\s*"), "isolated"),
                                 pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)],
            "default_gguf": [split(r"[\p{P}\$\+<=>\^~\|]+"), byte_level(), split(r"\p{N}+"), split("[0-9][0-9][0-9]")]}.items():
        yield name, byte_bpe(lines, vocab // 4, pre_tokenizers.Sequence(steps), special("<s>"),
                             normalizer=normalizers.Strip(True, True) if name == "splits" else normalizers.NFD())

    unk = ["<unk>", "<s>", "</s>"]
    prefixed = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    yield "llama2", sentencepiece(lines, vocab, prefixed, None, llama_decoder(), unk, "<s>")
    yield "llama2_metaspace", sentencepiece(lines, vocab, None, pre_tokenizers.Metaspace(MARK, "first", False), llama_decoder(),
                                            unk, "<s>")
    yield "mistral", sentencepiece(lines, vocab, prefixed, None, llama_decoder(), unk, "<s>",
                                   added=special("[INST]", "[/INST]"))
    yield "metaspace_split", sentencepiece(lines, vocab, None, pre_tokenizers.Metaspace(MARK, "always", True),
                                           decoders.Metaspace(MARK, "always", True), unk, "<s>")
    gemma = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    yield "gemma", sentencepiece(
        lines, vocab, normalizers.Replace(" ", MARK), pre_tokenizers.Split(" ", "merged_with_previous"), llama_decoder(False),
        gemma, "<bos>", added=[AddedToken(t, normalized=False) for t in ("\n\n", "<start_of_turn>", "<table>", MARK * 3)])
    # No byte pieces for some bytes: unk, fused and not
    for fuse in (True, False):
        ids, scores = sentencepiece_vocabulary(lines, vocab // 4, unk)
        ids = {p: i for i, p in enumerate(p for p in ids if p not in ("<0x80>", "<0x9F>", "<0xE4>"))}
        merges = merges_of(ids, scores, [p for p in ids if p not in unk and p not in BYTE_PIECES])
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), prefixed])
        tokenizer.decoder = llama_decoder()
        tokenizer.add_tokens([AddedToken("<s>", normalized=True), AddedToken("norm al", normalized=True)])
        yield f"unknown_{'fused' if fuse else 'single'}", tokenizer


def write_gguf(path, lines, vocab):
    from gguf import GGUFWriter
    first = ["<unk>", "<s>", "</s>"]
    ids, scores = sentencepiece_vocabulary(lines, vocab, first)
    pieces = list(ids)
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([scores[p] for p in pieces])
    writer.add_token_types([2 if p == "<unk>" else 3 if p in first else 6 if p in BYTE_PIECES else 1 for p in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, help="English text to train on, beside generated text")
    parser.add_argument("--vocab", type=int, default=6000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines = list(multi_script(1, 4000))
    if args.text:
        lines += args.text.read_text().splitlines()
    for name, tokenizer in families(lines, args.vocab):
        path = args.out / f"{name}.json"
        tokenizer.save(str(path))
        if name in ("gpt2", "smollm"):  # as older files have it: merges as texts
            whole = json.loads(path.read_text())
            whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
            path.write_text(json.dumps(whole, ensure_ascii=False, indent=2))
        print(name, tokenizer.get_vocab_size(), flush=True)
    try:
        write_gguf(args.out / "gguf_llama.gguf", lines, args.vocab)
        print("gguf_llama.gguf")
    except ImportError:
        print("gguf_llama.gguf: not made, PyPI gguf is not installed")


if __name__ == "__main__":
    main()
