"""What a model remembers: of one token in its KV cache, of one sequence in recurrent layers.

Which layers have a cache, and which only a window, or a state of one size whatever came before.

How each architecture alternates is not in every file; the periods here are llama.cpp's defaults
(`load_swa_pattern` in its src/models).  What is not known here counts as a layer that keeps the
whole context, which is too much rather than too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runnerd.models.gguf_header import GGUFHeader

ENCODERS = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert",
    "neo-bert", "nomic-bert", "nomic-bert-moe", "t5encoder",
})  # fmt: skip
_WITHOUT_CACHE = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}  # where the file does not say

# Of so many layers in a row one sees everything, the others a window.
_MOST_LAYERS = 512  # llama.cpp's limit
_PERIODS = {
    "afmoe": 4, "cohere2": 4, "exaone4": 4, "exaone-moe": 4, "gemma2": 2, "gemma3": 6,
    "gemma3n": 5, "gpt-oss": 2, "laguna": 4, "llama4": 4, "mellum": 4, "olmo2": 4, "plamo3": 8,
    "smallthinker": 4,
}  # fmt: skip
_WHOLE_FIRST = frozenset({"laguna", "smallthinker"})  # others begin with windows
_CHUNK = 8192  # tokens: Llama 4's window, whatever the file says
_EXAONE_LAYERS = 64  # fewer layers of EXAONE 4 have no windows
_INDEXED = frozenset({"deepseek32", "glm-dsa"})  # every layer keeps a key of its indexer, too


@dataclass(frozen=True, slots=True)
class Cached:
    """Elements of K and V per token, of all layers together; `window` in tokens."""

    whole: int = 0
    windowed: int = 0
    window: int = 0


@dataclass(frozen=True, slots=True)
class Recurrent:
    """Elements (floats) of one sequence's state, of all layers; `inner` how wide a layer is."""

    width: int = 0
    inner: int = 0


def encodes(header: GGUFHeader, architecture: str) -> bool:
    """Return whether a model sees a text whole and keeps nothing of it."""
    causal = header.metadata.get(f"{architecture}.attention.causal")
    return architecture in ENCODERS or causal is False


def recurrent(header: GGUFHeader, architecture: str) -> Recurrent:
    """The size of the state that recurrent layers keep of a sequence, after llama.cpp's sums."""
    layers = max(0, min(header.number(f"{architecture}.block_count"), _MOST_LAYERS))
    count = sum(_recurs(header, architecture, layer) for layer in range(layers))

    def number(key: str) -> int:
        return min(max(0, header.number(f"{architecture}.{key}")), 2**24)

    width, inner = number("embedding_length"), number("ssm.inner_size")
    if head := number("wkv.head_size"):
        shifts = number("token_shift_count") or 2
        return Recurrent(count * width * (shifts + head), 4 * width)
    if kept := number("shortconv.l_cache"):
        return Recurrent(count * width * (kept - 1), 3 * width)
    if head := number("kda.head_dim"):
        heads = min(max(0, head_count(header, architecture)), 2**16)
        taps = max(1, number("ssm.conv_kernel")) - 1
        return Recurrent(count * heads * head * (3 * taps + head), 3 * heads * head)
    if not inner:
        return Recurrent()
    state, groups = number("ssm.state_size"), number("ssm.group_count")
    taps = max(1, number("ssm.conv_kernel")) - 1
    beside = 2 * groups * state
    # Measured: of the first kind less is alive, of those with a delta rule more.
    wide = 2 * inner + beside if groups else 3 * inner // 2
    wide = wide * 6 // 5 if architecture in _INTERVALS else wide
    return Recurrent(count * (taps * (inner + beside) + inner * state), wide)


def head_count(header: GGUFHeader, architecture: str) -> int:
    """Return the heads of a layer, where they differ the most."""
    heads = header.metadata.get(f"{architecture}.attention.head_count")
    if isinstance(heads, list):
        return max((count for count in heads if isinstance(count, int)), default=0)
    return header.number(f"{architecture}.attention.head_count")


def _recurs(header: GGUFHeader, architecture: str, layer: int) -> bool:
    """Return whether a layer keeps a state: beside a cache only in Falcon H1."""
    if architecture == "falcon-h1" or architecture in _WITHOUT_CACHE:
        return True
    if architecture.startswith("nemotron_h"):
        # A third kind of layer has neither: it has a feed-forward length instead.
        forward = header.metadata.get(f"{architecture}.feed_forward_length")
        if isinstance(forward, list) and layer < len(forward) and forward[layer]:
            return False
    return not _width(header, architecture, layer)


def cached(header: GGUFHeader, architecture: str) -> Cached:
    """How wide the cache is for one token; nothing for an encoder, which has none."""
    if architecture in _WITHOUT_CACHE or encodes(header, architecture):
        return Cached()
    layers = header.number(f"{architecture}.block_count")
    layers -= header.number(f"{architecture}.attention.shared_kv_layers")
    layers = max(0, min(layers, _MOST_LAYERS))
    widths = [_width(header, architecture, layer) for layer in range(layers)]
    slides = _sliding(header, architecture, len(widths))
    whole = sum(width for width, sliding in zip(widths, slides, strict=True) if not sliding)
    if architecture in _INDEXED:
        whole += layers * header.number(f"{architecture}.attention.indexer.key_length")
    return Cached(
        whole=whole,
        windowed=sum(width for width, sliding in zip(widths, slides, strict=True) if sliding),
        window=_window(header, architecture),
    )


def indexer_width(header: GGUFHeader, architecture: str) -> int:
    """Return how wide the queries are that choose which tokens a layer looks at."""
    if architecture not in _INDEXED:
        return 0
    start = f"{architecture}.attention.indexer."
    return header.number(start + "head_count") * header.number(start + "key_length")


def _width(header: GGUFHeader, architecture: str, layer: int) -> int:
    """Return the elements of one token in one layer; none in a recurrent one."""
    start = f"{architecture}.attention."
    interval = header.number(f"{architecture}.full_attention_interval")
    interval = interval or _INTERVALS.get(architecture, 0)
    if interval and (layer + 1) % interval:
        return 0
    recurs = header.metadata.get(start + "recurrent_layers")
    if isinstance(recurs, list) and layer < len(recurs) and recurs[layer]:
        return 0
    heads = head_count(header, architecture)
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
    if not _window(header, architecture):
        return [False] * layers
    pattern = header.metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, list) and len(pattern) >= layers:
        return [bool(flag) for flag in pattern[:layers]]
    period = pattern if isinstance(pattern, int) and pattern > 0 else _PERIODS.get(architecture, 1)
    whole = 0 if architecture in _WHOLE_FIRST else period - 1
    return [layer % period != whole for layer in range(layers)]


def _window(header: GGUFHeader, architecture: str) -> int:
    """Return the tokens that a layer with a sliding window sees, 0 where none has one."""
    key = f"{architecture}.attention.sliding_window"
    if architecture == "llama4":
        return 0 if header.metadata.get(key) == 0 else _CHUNK
    if architecture == "exaone4" and header.number("exaone4.block_count") != _EXAONE_LAYERS:
        return 0
    return header.number(key)
