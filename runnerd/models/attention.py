"""What one token takes in a model's KV cache: which layers have one, and which only a window.

How each architecture alternates is not in every file; the periods here are llama.cpp's defaults
(`load_swa_pattern` in its src/models).  What is not known here counts as a layer that keeps the
whole context, which is too much rather than too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runnerd.models.gguf import GGUFHeader

# Of so many layers in a row one sees everything, the others a window.
_MOST_LAYERS = 512  # llama.cpp's limit
_PERIODS = {
    "afmoe": 4, "cohere2": 4, "exaone4": 4, "exaone-moe": 4, "gemma2": 2, "gemma3": 6,
    "gemma3n": 5, "gpt-oss": 2, "llama4": 4, "olmo2": 4, "plamo3": 8, "smallthinker": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cached:
    """Elements of K and V per token, of all layers together; `window` in tokens."""

    whole: int = 0
    windowed: int = 0
    window: int = 0


def cached(header: GGUFHeader, architecture: str) -> Cached:
    """Return what a token takes, nothing for an encoder, which keeps no cache."""
    if header.metadata.get(f"{architecture}.attention.causal") is False:
        return Cached()
    layers = header.number(f"{architecture}.block_count")
    layers -= header.number(f"{architecture}.attention.shared_kv_layers")
    layers = max(0, min(layers, _MOST_LAYERS))
    widths = [_width(header, architecture, layer) for layer in range(layers)]
    slides = _sliding(header, architecture, len(widths))
    return Cached(
        whole=sum(width for width, sliding in zip(widths, slides, strict=True) if not sliding),
        windowed=sum(width for width, sliding in zip(widths, slides, strict=True) if sliding),
        window=header.number(f"{architecture}.attention.sliding_window"),
    )


def _width(header: GGUFHeader, architecture: str, layer: int) -> int:
    """Return the elements of one token in one layer; none in a recurrent one."""
    start = f"{architecture}.attention."
    interval = header.number(f"{architecture}.full_attention_interval")
    if interval and (layer + 1) % interval:
        return 0
    heads = header.number(start + "head_count")
    heads_kv = header.metadata.get(start + "head_count_kv", heads)
    if isinstance(heads_kv, list):
        heads_kv = heads_kv[layer] if layer < len(heads_kv) else heads
    if not isinstance(heads_kv, int) or heads_kv < 0:
        heads_kv = heads
    per_head = header.number(f"{architecture}.embedding_length") // heads if heads else 0
    key = header.number(start + "key_length") or per_head
    if header.number(start + "key_length_mla"):
        return heads_kv * key  # compressed: V is a part of K
    return heads_kv * (key + (header.number(start + "value_length") or per_head))


def _sliding(header: GGUFHeader, architecture: str, layers: int) -> Sequence[bool]:
    """Return for each layer whether it keeps a window only."""
    if not header.number(f"{architecture}.attention.sliding_window"):
        return [False] * layers
    pattern = header.metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, list) and len(pattern) >= layers:
        return [bool(flag) for flag in pattern[:layers]]
    period = pattern if isinstance(pattern, int) and pattern > 0 else _PERIODS.get(architecture, 1)
    return [layer % period < period - 1 for layer in range(layers)]
