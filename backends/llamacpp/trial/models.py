"""The tiny models of a trial, written with the standard library alone.

Random weights, block by block in the formats that take different code: what an engine computes from
them does not matter, that it survives does.  One decoder has another format in each of its layers,
so that one start tries them all; the second has experts, the third is an encoder.

Not `runnerd.models.tiny`, which the daemon must not load: it takes numpy and the gguf package, and
knows no quantisation.
"""

from __future__ import annotations

import array
import random
import string
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH = 256  # rows of K-quants are multiples of 256
FEED_FORWARD = 512
HEADS = 4
CONTEXT = 1024

_EXPERTS, _EXPERTS_USED = 4, 2
_ALIGNMENT = 32
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9  # value types of a GGUF
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # token types


@dataclass(frozen=True, slots=True)
class Format:
    """A tensor format: ggml's number for it, the values of a block, a maker of random blocks.

    Makers keep values about as large as 1/16, a layer's scale.
    """

    number: int
    values: int
    make: Callable[[random.Random, int], bytes]


def _half(value: float) -> bytes:
    return struct.pack("<e", value)


def _from_table(code: str, table: Sequence[float]) -> Callable[[random.Random, int], bytes]:
    def make(source: random.Random, count: int) -> bytes:
        return array.array(code, map(table.__getitem__, source.randbytes(count))).tobytes()

    return make


def _framed(head: bytes, middle: int, tail: bytes = b"") -> Callable[[random.Random, int], bytes]:
    """Blocks of fixed scales around random bytes."""

    def make(source: random.Random, count: int) -> bytes:
        return b"".join(head + source.randbytes(middle) + tail for _ in range(count))

    return make


_SPREAD = [(number - 127.5) / 127.5 * 0.1 for number in range(256)]
_HALVES = [int.from_bytes(struct.pack("<e", value), "little") for value in _SPREAD]
_BRAINS = [int.from_bytes(struct.pack("<f", value)[2:], "little") for value in _SPREAD]


F32 = Format(0, 1, _from_table("f", _SPREAD))
F16 = Format(1, 1, _from_table("H", _HALVES))
BF16 = Format(30, 1, _from_table("H", _BRAINS))
Q4_0 = Format(2, 32, _framed(_half(0.0136), 16))
Q8_0 = Format(8, 32, _framed(_half(0.00085), 32))
Q4_K = Format(12, 256, _framed(_half(0.0004) + _half(0.003), 140))
Q5_K = Format(13, 256, _framed(_half(0.0002) + _half(0.0031), 172))
Q6_K = Format(14, 256, _framed(b"", 208, _half(4.4e-5)))
IQ4_NL = Format(20, 32, _framed(_half(0.0008), 16))

LAYERS = (F16, Q8_0, Q4_0, Q4_K, Q6_K, BF16, Q5_K, IQ4_NL)


def write_decoder(path: Path) -> None:
    """Write a llama decoder whose layers have the formats in LAYERS."""
    writer = _Writer("llama")
    _describe_decoder(writer, len(LAYERS))
    tokens = _add_byte_tokens(writer)
    writer.tensor("token_embd.weight", F16, WIDTH, tokens)
    for number, kind in enumerate(LAYERS):
        _add_attention(writer, number, kind)
        block = f"blk.{number}"
        for name in ("ffn_gate", "ffn_up"):
            writer.tensor(f"{block}.{name}.weight", kind, WIDTH, FEED_FORWARD)
        writer.tensor(f"{block}.ffn_down.weight", kind, FEED_FORWARD, WIDTH)
    writer.ones("output_norm.weight", WIDTH)
    writer.tensor("output.weight", Q6_K, WIDTH, tokens)
    writer.write(path)


def write_experts(path: Path) -> None:
    """Write a llama decoder with experts, whose matrices are multiplied by other code."""
    kinds = (Q8_0, Q4_0, Q4_K)
    writer = _Writer("llama")
    _describe_decoder(writer, len(kinds))
    writer.number("llama.expert_count", _EXPERTS)
    writer.number("llama.expert_used_count", _EXPERTS_USED)
    tokens = _add_byte_tokens(writer)
    writer.tensor("token_embd.weight", Q8_0, WIDTH, tokens)
    for number, kind in enumerate(kinds):
        _add_attention(writer, number, kind)
        block = f"blk.{number}"
        writer.tensor(f"{block}.ffn_gate_inp.weight", F32, WIDTH, _EXPERTS)
        for name in ("ffn_gate_exps", "ffn_up_exps"):
            writer.tensor(f"{block}.{name}.weight", kind, WIDTH, FEED_FORWARD, _EXPERTS)
        writer.tensor(f"{block}.ffn_down_exps.weight", kind, FEED_FORWARD, WIDTH, _EXPERTS)
    writer.ones("output_norm.weight", WIDTH)
    writer.tensor("output.weight", Q8_0, WIDTH, tokens)
    writer.write(path)


def write_encoder(path: Path) -> None:
    """Write a BERT encoder that pools to an embedding."""
    kinds = (F16, Q8_0)
    writer = _Writer("bert")
    _describe(writer, "bert", len(kinds))
    writer.real("bert.attention.layer_norm_epsilon", 1e-12)
    writer.add("bert.attention.causal", _BOOL, struct.pack("<?", False))
    writer.number("bert.pooling_type", 1)
    tokens = _add_letter_tokens(writer)
    writer.tensor("token_embd.weight", F16, WIDTH, tokens)
    writer.tensor("position_embd.weight", F32, WIDTH, CONTEXT)
    writer.tensor("token_types.weight", F32, WIDTH, 2)
    writer.norm("token_embd_norm")
    for number, kind in enumerate(kinds):
        block = f"blk.{number}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.dense(f"{block}.{name}", kind, WIDTH, WIDTH)
        writer.norm(f"{block}.attn_output_norm")
        writer.dense(f"{block}.ffn_up", kind, WIDTH, FEED_FORWARD)
        writer.dense(f"{block}.ffn_down", kind, FEED_FORWARD, WIDTH)
        writer.norm(f"{block}.layer_output_norm")
    writer.write(path)


def _describe(writer: _Writer, architecture: str, blocks: int) -> None:
    writer.text("general.name", "trial")
    writer.number(f"{architecture}.context_length", CONTEXT)
    writer.number(f"{architecture}.embedding_length", WIDTH)
    writer.number(f"{architecture}.block_count", blocks)
    writer.number(f"{architecture}.feed_forward_length", FEED_FORWARD)
    writer.number(f"{architecture}.attention.head_count", HEADS)


def _describe_decoder(writer: _Writer, blocks: int) -> None:
    _describe(writer, "llama", blocks)
    writer.number("llama.attention.head_count_kv", HEADS // 2)
    writer.number("llama.rope.dimension_count", WIDTH // HEADS)
    writer.real("llama.attention.layer_norm_rms_epsilon", 1e-5)


def _add_attention(writer: _Writer, number: int, kind: Format) -> None:
    block = f"blk.{number}"
    writer.ones(f"{block}.attn_norm.weight", WIDTH)
    writer.ones(f"{block}.ffn_norm.weight", WIDTH)
    for name, outputs in (("q", WIDTH), ("k", WIDTH // 2), ("v", WIDTH // 2), ("output", WIDTH)):
        writer.tensor(f"{block}.attn_{name}.weight", kind, WIDTH, outputs)


def _add_byte_tokens(writer: _Writer) -> int:
    tokens = ["<unk>", "<s>", "</s>", "▁"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [f"<unused{number}>" for number in range(60)]  # 320: whole tiles for every kernel
    types = [_UNKNOWN, _CONTROL, _CONTROL, _NORMAL] + [_BYTE] * 256 + [_NORMAL] * 60
    writer.text("tokenizer.ggml.model", "llama")
    writer.texts("tokenizer.ggml.tokens", tokens)
    writer.array("tokenizer.ggml.scores", _F32, struct.pack(f"<{len(tokens)}f", *[0.0] * 320), 320)
    writer.array("tokenizer.ggml.token_type", _I32, struct.pack("<320i", *types), 320)
    writer.number("tokenizer.ggml.bos_token_id", 1)
    writer.number("tokenizer.ggml.eos_token_id", 2)
    return len(tokens)


def _add_letter_tokens(writer: _Writer) -> int:
    letters = string.ascii_lowercase + string.digits + string.punctuation
    control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = control + ["▁" + letter for letter in letters] + list(letters)
    types = [_CONTROL, _UNKNOWN, _CONTROL, _CONTROL] + [_NORMAL] * (2 * len(letters))
    writer.text("tokenizer.ggml.model", "bert")
    writer.texts("tokenizer.ggml.tokens", tokens)
    packed = struct.pack(f"<{len(types)}i", *types)
    writer.array("tokenizer.ggml.token_type", _I32, packed, len(types))
    writer.number("tokenizer.ggml.token_type_count", 2)
    for name, number in (("padding", 0), ("unknown", 1), ("bos", 2), ("seperator", 3), ("eos", 3)):
        writer.number(f"tokenizer.ggml.{name}_token_id", number)
    return len(tokens)


class _Writer:
    """Collects the parts of one GGUF file and writes it."""

    def __init__(self, architecture: str) -> None:
        self._random = random.Random(architecture)
        self._fields: list[bytes] = []
        self._infos: list[bytes] = []
        self._data: list[bytes] = []
        self._offset = 0
        self.text("general.architecture", architecture)

    def add(self, key: str, kind: int, value: bytes) -> None:
        self._fields.append(_text(key) + struct.pack("<I", kind) + value)

    def number(self, key: str, value: int) -> None:
        self.add(key, _U32, struct.pack("<I", value))

    def real(self, key: str, value: float) -> None:
        self.add(key, _F32, struct.pack("<f", value))

    def text(self, key: str, value: str) -> None:
        self.add(key, _STRING, _text(value))

    def array(self, key: str, kind: int, packed: bytes, count: int) -> None:
        self.add(key, _ARRAY, struct.pack("<IQ", kind, count) + packed)

    def texts(self, key: str, values: Sequence[str]) -> None:
        self.array(key, _STRING, b"".join(map(_text, values)), len(values))

    def tensor(self, name: str, kind: Format, *shape: int) -> None:
        """Add a tensor of random values; `shape` begins with a row's length."""
        count = 1
        for length in shape:
            count *= length
        self._put(name, kind, shape, kind.make(self._random, count // kind.values))

    def ones(self, name: str, length: int) -> None:
        self._put(name, F32, (length,), struct.pack(f"<{length}f", *[1.0] * length))

    def norm(self, name: str) -> None:
        self.ones(f"{name}.weight", WIDTH)
        self._put(f"{name}.bias", F32, (WIDTH,), bytes(4 * WIDTH))

    def dense(self, name: str, kind: Format, inputs: int, outputs: int) -> None:
        self.tensor(f"{name}.weight", kind, inputs, outputs)
        self._put(f"{name}.bias", F32, (outputs,), bytes(4 * outputs))

    def _put(self, name: str, kind: Format, shape: Sequence[int], data: bytes) -> None:
        info = _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        self._infos.append(info + struct.pack("<IQ", kind.number, self._offset))
        data += bytes(-len(data) % _ALIGNMENT)
        self._data.append(data)
        self._offset += len(data)

    def write(self, path: Path) -> None:
        """Write the file."""
        counts = struct.pack("<IQQ", 3, len(self._infos), len(self._fields))
        head = b"GGUF" + counts + b"".join(self._fields + self._infos)
        head += bytes(-len(head) % _ALIGNMENT)
        with open(path, "wb") as file:
            file.write(head)
            file.writelines(self._data)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded
