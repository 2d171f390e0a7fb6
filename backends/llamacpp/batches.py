"""How much text an engine takes into one evaluation: the batch, logical and physical.

A model that sees a text whole, and a decoder that makes one vector of all tokens, must have it in
one physical batch, and its buffers grow with that.  A decoder whose last token is the embedding
takes a text in pieces like any chat.
"""

from __future__ import annotations

from collections.abc import Sequence

from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.flags import said
from runnerd.backends.llamacpp.footprint import whole_text_tokens
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFacts

PHYSICAL_BATCH = 512  # llama.cpp's default
_MIB = 2**20
_LAST = "last"


def pooling(facts: ModelFacts, flags: Sequence[str]) -> str:
    """Return how a model pools in embedding mode; `flags` are canonical.

    A chat model would have a vector for each token, and the engine refuse to tell them.
    """
    told = [values[0] for name, *values in said(flags) if name == "--pooling"]
    if told:
        return told[-1]
    if facts.pooling in ("", "none"):
        return "mean" if facts.encodes or "bert" in facts.architecture else _LAST
    return facts.pooling


def batch_tokens(
    facts: ModelFacts,
    mode: BackendMode,
    context: int,
    flags: Sequence[str],
    settings: LlamaCppSettings,
) -> int | None:
    """Return the batch to ask for, logical and physical; None: the engine's own choice."""
    if mode is BackendMode.COMPLETION or not context:
        return None
    if facts.encodes:
        return context  # which is limited already
    if mode is BackendMode.EMBEDDING and pooling(facts, flags) == _LAST:
        return min(context, PHYSICAL_BATCH)
    return whole_text_tokens(facts, context, settings.encoder_memory * _MIB)


def limited_context(facts: ModelFacts, context: int, settings: LlamaCppSettings) -> int:
    """Return the context where no owner has said one: of an encoder no more than is worth it."""
    if not facts.encodes:
        return context
    return whole_text_tokens(facts, context, settings.encoder_memory * _MIB)
