"""Models of real dimensions with random weights, written on the spot for the memory benchmark.

Every block has the same values: what counts is where they lie, not what they say.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import gguf
import numpy as np

from runnerd.models.tiny import byte_alphabet, finish

_NORMAL_TYPE, _CONTROL_TYPE, _BYTE_TYPE = 1, 3, 6


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's dimensions, those of the model that it is named after.

    `experts` is how many there are and how many are used at once; their width is `feed_forward`.
    `merges` asks for a byte-level tokenizer with as many merges as tokens.
    """

    name: str
    architecture: str
    width: int
    blocks: int
    heads: int
    heads_kv: int
    head: int
    feed_forward: int
    vocabulary: int
    experts: tuple[int, int] = (0, 0)
    window: int = 0
    merges: bool = False

    @property
    def encodes(self) -> bool:
        """Whether it makes embeddings instead of text."""
        return self.architecture == "bert"


SMALL = Shape("100M", "llama", 768, 8, 12, 4, 64, 2048, 32000)
SHAPES = (
    Shape("SmolLM2 360M", "llama", 960, 32, 15, 5, 64, 2560, 49152, merges=True),
    Shape("Qwen3 0.6B", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, merges=True),
    Shape("Qwen2.5 0.5B", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, merges=True),
    Shape("Gemma 3 270M", "gemma3", 640, 18, 4, 1, 256, 2048, 262144, window=512),
    Shape("Qwen3 MoE, 12 blocks", "qwen3moe", 1024, 12, 16, 4, 64, 512, 49152, experts=(32, 8)),
    Shape("BGE base", "bert", 768, 12, 12, 12, 64, 3072, 30522),
)

DRAFT = Shape("100M", "qwen3", 512, 8, 8, 4, 64, 1536, 151936, merges=True)
"""Of the same vocabulary as Qwen3 0.6B, which it is to draft for."""


def write_quantized(server: Path, folder: Path, shape: Shape, quantization: str) -> Path:
    """Write a model and bring it to `quantization` with llama.cpp's own tool."""
    source = folder / f"{shape.architecture}.gguf"
    write_f16(source, shape)
    if quantization == "F16":
        return source
    path = folder / f"{shape.architecture}-{quantization}.gguf"
    quantize(server, source, path, quantization)
    source.unlink()
    return path


def quantize(server: Path, source: Path, path: Path, quantization: str) -> None:
    """Bring a model to `quantization` with the tool beside a server."""
    argv = [str(server.with_name("llama-quantize")), str(source), str(path), quantization]
    subprocess.run(argv, check=True, capture_output=True)


class Drawn(Protocol):
    """Random matrices: their type (None: that of the array), and the one of each size."""

    type: gguf.GGMLQuantizationType | None

    def of(self, dimensions: tuple[int, ...]) -> np.ndarray:
        """Return the one of this size."""


def write_f16(path: Path, shape: Shape) -> None:
    """Write a model."""
    write(path, shape, Matrices(seed=1))


def write(path: Path, shape: Shape, matrices: Drawn) -> None:
    """Write a model of these matrices."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    _add_shape(writer, shape)
    _add_vocabulary(writer, shape)
    _add_tensors(writer, shape, matrices)
    finish(writer)


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(512 if shape.encodes else 32768)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    if shape.encodes:
        writer.add_layer_norm_eps(1e-12)
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.CLS)
        return
    writer.add_head_count_kv(shape.heads_kv)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_layer_norm_rms_eps(1e-6)
    if shape.window:
        writer.add_sliding_window(shape.window)
    if shape.experts[0]:
        writer.add_expert_count(shape.experts[0])
        writer.add_expert_used_count(shape.experts[1])
        writer.add_expert_feed_forward_length(shape.feed_forward)


def _add_vocabulary(writer: gguf.GGUFWriter, shape: Shape) -> None:
    count = shape.vocabulary
    if shape.encodes:
        control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        writer.add_tokenizer_model("bert")
        writer.add_token_type_count(2)
        writer.add_token_list(control + [f"▁token{number}" for number in range(count - 4)])
        writer.add_token_types([_CONTROL_TYPE] * 4 + [_NORMAL_TYPE] * (count - 4))
        for add, token in (
            (writer.add_pad_token_id, 0), (writer.add_unk_token_id, 1),
            (writer.add_bos_token_id, 2), (writer.add_sep_token_id, 3),
        ):  # fmt: skip
            add(token)
    elif shape.merges:
        tokens = byte_alphabet() + [f"token{number}" for number in range(count - 256)]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(tokens)
        writer.add_token_types([_NORMAL_TYPE] * count)
        writer.add_token_merges([f"tok en{number}" for number in range(count - 256)])
        writer.add_eos_token_id(count - 1)
    else:
        bytes_ = [f"<0x{number:02X}>" for number in range(256)]
        rest = count - 259
        tokens = ["<unk>", "<s>", "</s>", *bytes_, *(f"token{number}" for number in range(rest))]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([-float(number) for number in range(count)])
        writer.add_token_types([2, 3, 3] + [_BYTE_TYPE] * 256 + [_NORMAL_TYPE] * rest)


class Matrices:
    """Random matrices in F16, one for each size: to draw them all would take longest."""

    type: gguf.GGMLQuantizationType | None = None

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._drawn: dict[tuple[int, ...], np.ndarray] = {}

    def of(self, dimensions: tuple[int, ...]) -> np.ndarray:
        """Return the one of this size."""
        if dimensions not in self._drawn:
            matrix = self._random.standard_normal(dimensions, dtype=np.float32) * 0.02
            self._drawn[dimensions] = matrix.astype(np.float16)
        return self._drawn[dimensions]


def _add_tensors(writer: gguf.GGUFWriter, shape: Shape, matrices: Drawn) -> None:
    for name, dimensions in _decoder(shape) if not shape.encodes else _encoder(shape):
        if len(dimensions) == 1:
            values = np.zeros if name.endswith(".bias") else np.ones
            writer.add_tensor(name, values(dimensions, dtype=np.float32))
            continue
        if name in ("position_embd.weight", "token_types.weight"):  # are added to floats
            writer.add_tensor(name, np.zeros(dimensions, dtype=np.float32))
            continue
        writer.add_tensor(name, matrices.of(dimensions), raw_dtype=matrices.type)


def _decoder(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, forward = shape.width, shape.feed_forward
    gemma, qwen2 = shape.architecture == "gemma3", shape.architecture == "qwen2"
    wide, narrow = shape.heads * shape.head, shape.heads_kv * shape.head
    yield "token_embd.weight", (shape.vocabulary, width)
    yield "output_norm.weight", (width,)
    for block in range(shape.blocks):
        start = f"blk.{block}."
        yield start + "attn_norm.weight", (width,)
        yield start + "attn_q.weight", (wide, width)
        yield start + "attn_k.weight", (narrow, width)
        yield start + "attn_v.weight", (narrow, width)
        yield start + "attn_output.weight", (width, wide)
        yield start + "ffn_norm.weight", (width,)
        if shape.experts[0]:
            count = shape.experts[0]
            yield start + "ffn_gate_inp.weight", (count, width)
            yield start + "ffn_gate_exps.weight", (count, forward, width)
            yield start + "ffn_up_exps.weight", (count, forward, width)
            yield start + "ffn_down_exps.weight", (count, width, forward)
        else:
            yield start + "ffn_gate.weight", (forward, width)
            yield start + "ffn_up.weight", (forward, width)
            yield start + "ffn_down.weight", (width, forward)
        if qwen2:
            for name, size in (("q", wide), ("k", narrow), ("v", narrow)):
                yield f"{start}attn_{name}.bias", (size,)
        elif shape.architecture != "llama":
            yield start + "attn_q_norm.weight", (shape.head,)
            yield start + "attn_k_norm.weight", (shape.head,)
        if gemma:
            yield start + "post_attention_norm.weight", (width,)
            yield start + "post_ffw_norm.weight", (width,)


def _encoder(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, forward = shape.width, shape.feed_forward
    yield "token_embd.weight", (shape.vocabulary, width)
    yield "position_embd.weight", (512, width)
    yield "token_types.weight", (2, width)
    yield from norm("token_embd_norm", width)
    for block in range(shape.blocks):
        start = f"blk.{block}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{start}{name}.weight", (width, width)
            yield f"{start}{name}.bias", (width,)
        yield from norm(start + "attn_output_norm", width)
        yield start + "ffn_up.weight", (forward, width)
        yield start + "ffn_up.bias", (forward,)
        yield start + "ffn_down.weight", (width, forward)
        yield start + "ffn_down.bias", (width,)
        yield from norm(start + "layer_output_norm", width)


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a norm with a bias."""
    yield name + ".weight", (width,)
    yield name + ".bias", (width,)
