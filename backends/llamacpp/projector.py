"""What a projector (the eyes and ears beside a model) holds in memory while it is served.

llama-server reads it whole, onto one device, and says nothing of its needs beforehand.  Beside the
weights there are the buffers of one evaluation, which grow with the image and not with the number
of blocks, and what is held of inputs in RAM: a request's image is prepared before its turn comes,
and kept by its slot after it.  Counted is one input in each slot, as large as the projector takes.
The formulas follow llama.cpp's graph (`build_vit`, which most kinds share), with what was measured
where it has no formula; `bench memory` holds them against running engines.
"""

from __future__ import annotations

from runnerd.backends.interface import RequiredMemory
from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.model_files import ModelFiles, SenseFacts

_FLOAT = 4
_HALF = 2
_RESIDUALS = 2.5  # activations of the embedding's width, beside the widest one; measured
_TOUCHED_BESIDE = 0.2  # of what is reserved and not needed; measured
_HELD_NUMBER = 9  # bytes: a float in the waiting request and one in its slot, and the pixel
_EVALUATED = 2  # further floats, while it is evaluated
_HELD_SOUND = 24 * 320  # bytes per position of 320 samples: the file, its text and the samples
_HELD = 3 * 2**20  # of a request with an image or a sound, however small
_GRAPH = 9 * 2**19  # an encoder's graph, however small


def projector_memory(files: ModelFiles, load: Workload, gpu: str | None) -> RequiredMemory:
    """What the projector of a model needs, on `gpu` or in RAM.

    Raises OSError when its file cannot be looked at.
    """
    if files.mmproj is None:
        return RequiredMemory(0)
    weights, width = files.mmproj.stat().st_size, files.facts.embedding_length
    inputs = sum(_input_bytes(sense, load, width) for sense in files.senses)
    if gpu:
        buffers = sum(_reserved_bytes(sense, load) for sense in files.senses)
        return RequiredMemory(inputs, ((gpu, weights + buffers),))
    return RequiredMemory(
        weights + inputs + sum(_touched_bytes(sense, load) for sense in files.senses)
    )


def _reserved_bytes(sense: SenseFacts, load: Workload) -> int:
    """Return the buffers of an evaluation, or those for the image that room is reserved for."""
    tokens = max(_tokens(sense, load), sense.reserved_tokens)
    return _row_bytes(sense, tokens * _batched(sense, load)) + _square_bytes(sense, load, tokens)


def _touched_bytes(sense: SenseFacts, load: Workload) -> int:
    """What the processor touches of the buffers, and its copy of the widest activation in
    the type of the weights.

    What is computed lies where it lay for the image that room is reserved for: by a smaller one
    more is touched than it needs.
    """
    tokens, batched = _tokens(sense, load), _batched(sense, load)
    needed = _row_bytes(sense, tokens * batched)
    reserved = _row_bytes(sense, max(tokens, sense.reserved_tokens) * batched)
    widest = max(sense.feed_forward_length, sense.embedding_length)
    copy = _HALF * tokens * sense.token_positions * batched * widest
    beside = int(_TOUCHED_BESIDE * (reserved - needed))
    return needed + beside + _square_bytes(sense, load, tokens) + copy


def _row_bytes(sense: SenseFacts, tokens: int) -> int:
    """Bytes of the activations, which grow with the positions that are evaluated at once."""
    widest = sense.feed_forward_length * (2 if sense.gated else 1)
    row = widest + _RESIDUALS * sense.embedding_length + sense.position_inputs
    return int(_FLOAT * tokens * sense.token_positions * row)


def _square_bytes(sense: SenseFacts, load: Workload, tokens: int) -> int:
    """Bytes that grow with the square of the positions: a mask, and scores that are not fused."""
    square = (tokens * sense.token_positions) ** 2
    scores = 0 if load.fused else _FLOAT * sense.head_count * _batched(sense, load)
    return square * (scores + (_FLOAT + _HALF if sense.masked else 0))


def _input_bytes(sense: SenseFacts, load: Workload, width: int) -> int:
    """What is held in RAM of inputs, wherever the projector lies: one in each slot, as large
    as it takes, for a language model that is `width` wide.
    """
    tokens, batched = _tokens(sense, load), _batched(sense, load)
    pieces = max(1, min(sense.pieces, load.context // tokens if load.context else sense.pieces))
    piece = sense.token_positions * sense.position_inputs  # numbers per token
    held = _HELD + _HELD_NUMBER * piece * tokens * pieces + _FLOAT * width * tokens * batched
    if sense.hears:
        held += _HELD_SOUND * tokens * sense.token_positions
    evaluated = _EVALUATED * _FLOAT * piece * max(tokens * batched, sense.reserved_tokens)
    mask = _FLOAT * (tokens * sense.token_positions) ** 2 if sense.masked else 0
    return load.slots * held + evaluated + mask + _GRAPH


def _tokens(sense: SenseFacts, load: Workload) -> int:
    """Return the tokens of one piece of the largest input; a longer one would be refused."""
    most = load.image_tokens if sense.adjustable and load.image_tokens else sense.tokens
    return max(1, min(most, load.context) if load.context else most)


def _batched(sense: SenseFacts, load: Workload) -> int:
    """Return how many pieces are evaluated at once."""
    return max(1, load.image_batch // _tokens(sense, load)) if sense.batches else 1
