"""A tokenizer directory for tools that ask a model hub for one, made from the vocabulary in a GGUF file."""

import json
import pathlib
import struct

NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
CONTROL_TOKEN = 3


def metadata(path):
    """The keys and values at the start of a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    with open(path, "rb") as file:

        def number(form):
            return struct.unpack(form, file.read(struct.calcsize(form)))[0]

        def value(kind):
            if kind == STRING:
                return file.read(number("<Q")).decode("utf-8", "replace")
            if kind == ARRAY:
                of, length = number("<I"), number("<Q")
                return [value(of) for _ in range(length)]
            return number(NUMBERS[kind])

        if file.read(4) != b"GGUF":
            raise SystemExit(f"{path}: not a GGUF file")
        number("<I"), number("<Q")
        return {value(STRING): value(number("<I")) for _ in range(number("<Q"))}


def write(gguf, directory):
    """Writes tokenizer.json, tokenizer_config.json and config.json for a byte-level BPE vocabulary."""
    of = metadata(gguf)
    tokens, kinds = of["tokenizer.ggml.tokens"], of["tokenizer.ggml.token_type"]
    if of["tokenizer.ggml.model"] != "gpt2":
        raise SystemExit(f"{gguf}: vocabulary is {of['tokenizer.ggml.model']}, expected gpt2 (byte-level BPE)")
    special = [number for number, kind in enumerate(kinds) if kind == CONTROL_TOKEN]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": tokens[number], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for number in special
        ],
        # As SmolLM2's own file: digits one by one, then bytes.
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)},
                  "merges": of["tokenizer.ggml.merges"]},
    }
    end = tokens[of["tokenizer.ggml.eos_token_id"]]
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end,
        "clean_up_tokenization_spaces": False, "model_max_length": 8192,
        "chat_template": of.get("tokenizer.chat_template"),
    }))
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": len(tokens)}))
