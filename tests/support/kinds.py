"""Small models of the kinds that keep what they have read in different ways.

Random weights under real architectures: keys and values of every token (llama), of a window of them
in most layers (gemma3), compressed ones (deepseek2, MLA), and a state that does not grow (mamba).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from runnerd.models.tiny import PRINTABLE, Weights, add_byte_tokenizer, finish

WINDOW = 256


@dataclass(frozen=True, slots=True)
class Size:
    """A model's dimensions; `feed_forward` is what a gate and its layers are wide."""

    width: int = 64
    blocks: int = 2
    heads: int = 4
    feed_forward: int = 128

    @property
    def head(self) -> int:
        """Elements per head."""
        return self.width // self.heads


TINY = Size()


def write_kind(
    path: Path, architecture: str, *, context_length: int = 2048, size: Size = TINY, seed: int = 0
) -> None:
    """Write a model of one of `KINDS` that answers in printable ASCII and seldom ends by itself."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(architecture)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context_length)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.blocks)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = add_byte_tokenizer(writer)
    weights = Weights(writer, seed)
    embedding = weights.draw(len(tokens), size.width, scale=1.0)
    embedding[:, 0] = 6.0
    weights.add("token_embd.weight", embedding)
    KINDS[architecture](writer, weights, size)
    _ones(weights, "output_norm", size.width)
    output = weights.draw(len(tokens), size.width, scale=0.4)
    output[:, 0] = [2.0 if set(token) <= PRINTABLE else -20.0 for token in tokens]
    weights.add("output.weight", output)
    finish(writer)


def _ones(weights: Weights, name: str, width: int) -> None:
    weights.add(f"{name}.weight", np.ones(width, dtype=np.float32))


def _attention(writer: gguf.GGUFWriter, size: Size) -> None:
    writer.add_feed_forward_length(size.feed_forward)
    writer.add_head_count(size.heads)


def _feed_forward(weights: Weights, block: str, size: Size) -> None:
    _ones(weights, f"{block}.ffn_norm", size.width)
    weights.matrix(f"{block}.ffn_gate", size.width, size.feed_forward)
    weights.matrix(f"{block}.ffn_up", size.width, size.feed_forward)
    weights.matrix(f"{block}.ffn_down", size.feed_forward, size.width)


def _llama(writer: gguf.GGUFWriter, weights: Weights, size: Size) -> None:
    _attention(writer, size)
    writer.add_head_count_kv(size.heads)
    writer.add_rope_dimension_count(size.head)
    for number in range(size.blocks):
        block = f"blk.{number}"
        _ones(weights, f"{block}.attn_norm", size.width)
        for projection in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.matrix(f"{block}.{projection}", size.width, size.width)
        _feed_forward(weights, block, size)


def _gemma3(writer: gguf.GGUFWriter, weights: Weights, size: Size) -> None:
    _llama(writer, weights, size)
    writer.add_key_length(size.head)
    writer.add_value_length(size.head)
    writer.add_sliding_window(WINDOW)
    writer.add_sliding_window_pattern(2)
    for number in range(size.blocks):
        block = f"blk.{number}"
        _ones(weights, f"{block}.attn_q_norm", size.head)
        _ones(weights, f"{block}.attn_k_norm", size.head)
        _ones(weights, f"{block}.post_attention_norm", size.width)
        _ones(weights, f"{block}.post_ffw_norm", size.width)


def _deepseek2(writer: gguf.GGUFWriter, weights: Weights, size: Size) -> None:
    rank, turned = size.width // 2, size.head // 2
    straight = size.head - turned
    _attention(writer, size)
    writer.add_head_count_kv(1)
    writer.add_q_lora_rank(rank)
    writer.add_kv_lora_rank(rank)
    writer.add_key_length(rank + turned)
    writer.add_value_length(rank)
    writer.add_key_length_mla(size.head)
    writer.add_value_length_mla(size.head)
    writer.add_rope_dimension_count(turned)
    writer.add_leading_dense_block_count(size.blocks)
    writer.add_expert_feed_forward_length(size.feed_forward)
    writer.add_expert_shared_count(1)
    for number in range(size.blocks):
        block = f"blk.{number}"
        _ones(weights, f"{block}.attn_norm", size.width)
        _ones(weights, f"{block}.attn_q_a_norm", rank)
        _ones(weights, f"{block}.attn_kv_a_norm", rank)
        weights.matrix(f"{block}.attn_q_a", size.width, rank)
        weights.matrix(f"{block}.attn_q_b", rank, size.width)
        weights.matrix(f"{block}.attn_kv_a_mqa", size.width, rank + turned)
        weights.add(
            f"{block}.attn_k_b.weight", weights.draw(size.heads, rank, straight, scale=rank**-0.5)
        )
        weights.add(
            f"{block}.attn_v_b.weight", weights.draw(size.heads, size.head, rank, scale=rank**-0.5)
        )
        weights.matrix(f"{block}.attn_output", size.width, size.width)
        _feed_forward(weights, block, size)


def _mamba(writer: gguf.GGUFWriter, weights: Weights, size: Size) -> None:
    inner, state, rank, kernel = 2 * size.width, 16, size.width // 16, 4
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    for number in range(size.blocks):
        block = f"blk.{number}"
        _ones(weights, f"{block}.attn_norm", size.width)
        weights.matrix(f"{block}.ssm_in", size.width, 2 * inner)
        weights.dense(f"{block}.ssm_conv1d", kernel, inner)
        weights.matrix(f"{block}.ssm_x", inner, rank + 2 * state)
        weights.dense(f"{block}.ssm_dt", rank, inner)
        fading = np.tile(-np.arange(1, state + 1, dtype=np.float32), (inner, 1))
        weights.add(f"{block}.ssm_a", fading)
        weights.add(f"{block}.ssm_d", np.ones(inner, dtype=np.float32))
        weights.matrix(f"{block}.ssm_out", inner, size.width)


KINDS: dict[str, Callable[[gguf.GGUFWriter, Weights, Size], None]] = {
    "llama": _llama,
    "gemma3": _gemma3,
    "deepseek2": _deepseek2,
    "mamba": _mamba,
}
