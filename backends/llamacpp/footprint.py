"""What a model holds in memory while it is served, from the numbers in its header.

The formulas are llama.cpp's own where it has one (the cache), and measured where it has none (what
the processor really touches of the buffers, what a token of the vocabulary costs); `bench memory`
holds them against running engines.
"""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.backends.model_files import ModelFacts

_CACHE_BLOCK = 256  # tokens; llama.cpp rounds caches up to it
_FLOAT = 4
_HALF = 2  # bytes of the attention mask per token and row of the batch; a float where not fused
_SCRATCH = 1.5  # bytes per element of the widest activation, as matrix products want them
_LOGIT = 4 + 12  # a float, and the sampler's candidate
_TOKEN = 128  # bytes beside the text that the file has; measured
_MERGE = 128
_SHORTEST_WHOLE = 512
_MORE = {
    "cogvlm": 18,
    "exaone4": 4,
}  # activations as wide as the model that others do not hold; measured

# Bytes per element of a cache; of llama.cpp's quantised types, a block of 32.
_CACHE_TYPES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """How a model is served.

    `context` (of all slots together) and `batch` (the physical one) are in tokens.  `unified`: the
    slots share the context, else each has its part of it.  `embeds`: every token has an output,
    and not only the last of each slot.  `whole_windows`: a sliding window is kept like the whole
    context.  `image_tokens` is what an image may take, 0 for what the projector says, and
    `image_batch` what several are evaluated at once; `fused`: attention without a table of scores
    (flash attention), also in a projector.
    """

    context: int
    slots: int
    batch: int = 512
    key_type: str = "f16"
    value_type: str = "f16"
    whole_windows: bool = False
    image_tokens: int = 0
    image_batch: int = 1024
    fused: bool = True
    unified: bool = True
    embeds: bool = False

    @property
    def seen(self) -> int:
        """The tokens of context that one slot can see."""
        return self.context if self.unified else self.context // max(1, self.slots)


def cache_bytes(facts: ModelFacts, load: Workload) -> int:
    """Return the size of the KV cache, and of the states of recurrent layers, of all slots."""
    element = (_CACHE_TYPES.get(load.key_type, 2.0) + _CACHE_TYPES.get(load.value_type, 2.0)) / 2
    parts = 1 if load.unified else load.slots
    whole, window = parts * _blocks(load.seen), parts * _window(facts, load)
    cache = int((facts.cache_width * whole + facts.window_width * window) * element)
    return cache + _FLOAT * facts.state_width * load.slots


def checkpoint_bytes(facts: ModelFacts, context: int | None = None) -> int:
    """What llama-server keeps when it notes the state of a slot, to go back to it: what is
    there of recurrent layers and of windows, since these cannot be cut off at a token.

    `context` is what a slot has, None where it is not known.
    """
    tokens = facts.window if context is None else min(facts.window, context)
    windows = int(_CACHE_TYPES["f16"] * facts.window_width * tokens)
    return _FLOAT * facts.state_width + windows


def working_bytes(facts: ModelFacts, load: Workload) -> int:
    """What one evaluation touches in RAM at most, without its outputs.

    llama.cpp reserves room for the scores of a whole batch; a server asks for one row per slot, so
    that most of it is never touched and costs nothing.
    """
    experts = facts.expert_used_count * facts.expert_feed_forward_length
    widest = max(facts.feed_forward_length, experts, facts.embedding_length, facts.inner_length)
    activations = _activations(facts, max(facts.feed_forward_length, experts))
    row = _FLOAT * activations + _SCRATCH * widest + _seen_bytes(facts, load)
    rows = min(load.batch, load.context) if load.context else load.batch
    if load.embeds and not facts.encodes:  # the scores of every token, before they are handed over
        row += _FLOAT * facts.vocabulary_size
    return int(rows * row)


def _activations(facts: ModelFacts, forward: int) -> int:
    """Return the elements that a row of the batch has at most at a time, of which two are as wide
    as the model: in a feed-forward layer, in attention, or in a recurrent layer.
    """
    if facts.encodes and facts.gated:
        return 2 * forward + 5 * facts.embedding_length
    attention = 0
    if facts.cache_width or facts.window_width:
        attention = 5 * facts.head_count * facts.key_length // 2 + 2 * facts.indexer_width
    widest = max((3 if facts.gated else 1) * forward, attention, 5 * facts.inner_length // 2)
    return widest + (2 + _MORE.get(facts.architecture, 0)) * facts.embedding_length


def _seen_bytes(facts: ModelFacts, load: Workload) -> int:
    """Bytes of one row of the batch for the tokens that it sees: its mask, and their scores."""
    whole = _blocks(load.seen) if facts.cache_width or facts.encodes else 0
    seen = whole + (_window(facts, load) if facts.window_width else 0)
    return seen * (_HALF if load.fused else _FLOAT + _FLOAT * facts.head_count)


def shared_mask_bytes(facts: ModelFacts, load: Workload) -> int:
    """Return by how much the mask of one cache for all slots exceeds that of a cache each."""
    if not load.unified or not (facts.cache_width or facts.window_width):
        return 0
    more = load.context - load.context // max(1, load.slots)
    return more * min(load.batch, load.context) * (_HALF if load.fused else _FLOAT)


def output_bytes(facts: ModelFacts, load: Workload) -> int:
    """Bytes of the outputs, of choosing tokens from them, and of one checkpoint of each slot.

    Of each there are the scores of the whole vocabulary, even where an embedding is all that was
    asked for: with a batch as long as a text this is most of what an encoder holds.
    """
    if load.embeds:
        return _FLOAT * load.batch * (facts.vocabulary_size + facts.embedding_length)
    each = load.context // max(1, load.slots)
    return load.slots * (facts.vocabulary_size * _LOGIT + checkpoint_bytes(facts, each))


def whole_text_tokens(facts: ModelFacts, context: int, room_bytes: int) -> int:
    """Return how long a text may be for a model that must see it whole, in one physical batch.

    That is `context`, or the largest power of two below whose batch fits into `room_bytes`; no
    less than 512 in any case.
    """
    tokens = context
    while tokens > _SHORTEST_WHOLE:
        load = Workload(tokens, 1, batch=tokens, embeds=True)
        if working_bytes(facts, load) + output_bytes(facts, load) <= room_bytes:
            break
        tokens = 1 << ((tokens - 1).bit_length() - 1)
    return tokens


def vocabulary_bytes(facts: ModelFacts) -> int:
    """Bytes that the tokenizer holds beside the text that is in the file."""
    return _TOKEN * facts.vocabulary_size + _MERGE * facts.merges


def cache_bytes_per_token(facts: ModelFacts) -> int:
    """Bytes of K and V of one token in all layers, in f16."""
    return int((facts.cache_width + facts.window_width) * _CACHE_TYPES["f16"])


def _window(facts: ModelFacts, load: Workload) -> int:
    """Return the tokens that layers with a sliding window keep, of all slots or of each."""
    if load.whole_windows:
        return _blocks(load.seen)
    sharing = load.slots if load.unified else 1
    return _blocks(min(load.seen, facts.window * sharing + load.batch))


def _blocks(tokens: int) -> int:
    return -(-tokens // _CACHE_BLOCK) * _CACHE_BLOCK
