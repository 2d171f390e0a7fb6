"""What a model holds in memory while it is served, from the numbers in its header.

The formulas are llama.cpp's own where it has one (the cache), and measured where it has none (what
the processor really touches of the buffers, what a token of the vocabulary costs); `bench memory`
holds them against running engines.
"""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.backends.interface import ModelFacts

_CACHE_BLOCK = 256  # tokens; llama.cpp rounds caches up to it
_FLOAT = 4
_MASK = 4 + 2  # bytes of the attention mask per token and row of the batch: float, and half of it
_SCRATCH = 2  # bytes per element of the widest activation, as matrix products want them
_LOGIT = 4 + 12  # a float, and the sampler's candidate
_TOKEN = 128  # bytes beside the text that the file has; measured
_MERGE = 128

# Bytes per element of a cache; of llama.cpp's quantised types, a block of 32.
_CACHE_TYPES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """How a model is served.

    `context` and `batch` (the physical one) are in tokens.  `whole_windows`: a sliding window is
    kept like the whole context.  `image_tokens` is what an image may take, 0 for what the projector
    says; `fused`: attention without a table of scores (flash attention), also in a projector.
    """

    context: int
    slots: int
    batch: int = 512
    key_type: str = "f16"
    value_type: str = "f16"
    whole_windows: bool = False
    image_tokens: int = 0
    fused: bool = True


def cache_bytes(facts: ModelFacts, load: Workload) -> int:
    """Return the size of the KV cache, which all slots share."""
    element = (_CACHE_TYPES.get(load.key_type, 2.0) + _CACHE_TYPES.get(load.value_type, 2.0)) / 2
    whole, window = _blocks(load.context), _window(facts, load)
    return int((facts.cache_width * whole + facts.window_width * window) * element)


def working_bytes(facts: ModelFacts, load: Workload) -> int:
    """Return what one evaluation touches in RAM at most, and what choosing a token takes.

    llama.cpp reserves room for the scores of a whole batch; a server asks for one row per slot, so
    that most of it is never touched and costs nothing.
    """
    experts = facts.expert_used_count * facts.expert_feed_forward_length
    widest = max(facts.feed_forward_length, experts, facts.embedding_length)
    activations = 3 * widest + 4 * facts.embedding_length + facts.head_count * facts.key_length
    seen = _blocks(load.context) + (_window(facts, load) if facts.window_width else 0)
    row = _FLOAT * activations + _SCRATCH * widest + _MASK * seen
    rows = min(load.batch, load.context) if load.context else load.batch
    return rows * row + load.slots * facts.vocabulary_size * _LOGIT


def vocabulary_bytes(facts: ModelFacts) -> int:
    """Return what the tokenizer holds beside the text that is in the file."""
    return _TOKEN * facts.vocabulary_size + _MERGE * facts.merges


def cache_bytes_per_token(facts: ModelFacts) -> int:
    """Return what K and V of one token take in all layers, in f16."""
    return int((facts.cache_width + facts.window_width) * _CACHE_TYPES["f16"])


def _window(facts: ModelFacts, load: Workload) -> int:
    """Return the tokens that layers with a sliding window keep."""
    if load.whole_windows:
        return _blocks(load.context)
    return _blocks(min(load.context, facts.window * load.slots + load.batch))


def _blocks(tokens: int) -> int:
    return -(-tokens // _CACHE_BLOCK) * _CACHE_BLOCK
