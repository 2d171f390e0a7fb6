"""What a projector (the eyes and ears beside a model) holds in memory while it is served.

llama-server reads it whole, onto one device, and says nothing of its needs beforehand.  Beside the
weights there are the buffers of one evaluation, which grow with the image and not with the number
of blocks, and what is held of inputs in RAM: a request's image is prepared before its turn comes,
and kept by its slot after it.  Counted is one input in each slot, as large as the projector takes.
The formulas follow llama.cpp's graph (`build_vit`, which most kinds share), with what was measured
where it has no formula; `bench memory` holds them against running engines.
"""

from __future__ import annotations

from runnerd.backends.interface import ModelFiles, RequiredMemory, SenseFacts
from runnerd.backends.llamacpp.footprint import Workload

_FLOAT = 4
_HALF = 2
_RESIDUALS = 2.5  # activations of the embedding's width, beside the widest one; measured
_BATCH_TOKENS = 1024  # of images that llama-server evaluates at once
_HELD_INPUT = 9  # bytes per number: as float in the waiting request and in its slot, and the pixels
_HELD_SOUND = 24 * 320  # bytes per position of 320 samples: the file, its text and the samples
_HELD = 3 * 2**20  # of a request with an image or a sound, however small
_GRAPH = 9 * 2**19  # an encoder's graph, however small


def projector_memory(files: ModelFiles, load: Workload, gpu: str | None) -> RequiredMemory:
    """Return what the projector of a model needs, on `gpu` or in RAM.

    Raises OSError when its file cannot be looked at.
    """
    if files.mmproj is None:
        return RequiredMemory(0)
    evaluation = files.mmproj.stat().st_size
    held = 0
    for sense in files.senses:
        evaluation += _buffer_bytes(sense, load)
        held += _input_bytes(sense, load, files.facts.embedding_length)
        held += 0 if gpu else _processor_bytes(sense, load)
    return RequiredMemory(held, ((gpu, evaluation),)) if gpu else RequiredMemory(held + evaluation)


def _buffer_bytes(sense: SenseFacts, load: Workload) -> int:
    """Return the buffers that a projector evaluates in, on the device where it lies."""
    positions = _positions(sense, load)
    rows = positions * _batched(sense, load)
    widest = sense.feed_forward_length * (2 if sense.gated else 1)
    row = widest + _RESIDUALS * sense.embedding_length + sense.position_inputs
    scores = 0 if load.fused else _FLOAT * sense.head_count * positions * rows
    mask = (_FLOAT + _HALF) * positions**2 if sense.masked else 0
    return int(_FLOAT * rows * row) + scores + mask


def _processor_bytes(sense: SenseFacts, load: Workload) -> int:
    """Return what the processor takes in addition: the widest activation in the weights' type."""
    rows = _positions(sense, load) * _batched(sense, load)
    return _HALF * rows * max(sense.feed_forward_length, sense.embedding_length)


def _input_bytes(sense: SenseFacts, load: Workload, width: int) -> int:
    """Return what is held in RAM of inputs, wherever the projector lies: one in each slot, as large
    as it takes, for a language model that is `width` wide.
    """
    tokens, batched = _tokens(sense, load), _batched(sense, load)
    pieces = max(1, min(sense.pieces, load.context // tokens if load.context else sense.pieces))
    numbers = _positions(sense, load) * sense.position_inputs
    held = _HELD_INPUT * numbers * pieces + _FLOAT * tokens * batched * width + _HELD
    if sense.hears:
        held += _HELD_SOUND * _positions(sense, load)
    mask = _FLOAT * _positions(sense, load) ** 2 if sense.masked else 0
    return int(load.slots * held) + 2 * _FLOAT * numbers * batched + mask + _GRAPH


def _tokens(sense: SenseFacts, load: Workload) -> int:
    """Return the tokens of one piece of the largest input; a longer one would be refused."""
    most = load.image_tokens if sense.adjustable and load.image_tokens else sense.tokens
    return max(1, min(most, load.context) if load.context else most)


def _positions(sense: SenseFacts, load: Workload) -> int:
    return _tokens(sense, load) * sense.token_positions


def _batched(sense: SenseFacts, load: Workload) -> int:
    """Return how many pieces are evaluated at once."""
    return max(1, _BATCH_TOKENS // _tokens(sense, load)) if sense.batches else 1
