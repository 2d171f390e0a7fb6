"""How much text an engine takes at once, by what kind of model it is."""

from __future__ import annotations

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.batches import (
    PHYSICAL_BATCH,
    batch_tokens,
    limited_context,
    pooling,
)
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFacts

SETTINGS = LlamaCppSettings()
DECODER, ENCODER = ModelFacts(architecture="llama"), ModelFacts(architecture="x", encodes=True)


@pytest.mark.parametrize(
    ("facts", "flags", "expected"),
    [
        (DECODER, [], "last"),
        (ENCODER, [], "mean"),
        (ModelFacts(architecture="nomic-bert"), [], "mean"),
        (ModelFacts(pooling="cls"), [], "cls"),
        (ModelFacts(pooling="none"), [], "last"),
        (ModelFacts(pooling="cls"), ["--pooling", "rank", "--pooling", "mean"], "mean"),
    ],
)
def test_pooling(facts: ModelFacts, flags: list[str], expected: str) -> None:
    """The owner's last word, else the header's, else what suits the kind of model."""
    assert pooling(facts, flags) == expected


def test_chats_take_the_engines_batch() -> None:
    """So do all whose context is not known."""
    assert batch_tokens(DECODER, BackendMode.COMPLETION, 4096, [], SETTINGS) is None
    assert batch_tokens(DECODER, BackendMode.EMBEDDING, 0, [], SETTINGS) is None


@pytest.mark.parametrize("context", [100, PHYSICAL_BATCH, 100_000])
def test_embeddings_of_a_last_token_come_in_pieces(context: int) -> None:
    """No larger batch than a chat has."""
    batch = batch_tokens(DECODER, BackendMode.EMBEDDING, context, [], SETTINGS)
    assert batch == min(context, PHYSICAL_BATCH)


def test_an_encoder_sees_all_at_once() -> None:
    """Its context is one batch; others are not limited."""
    assert batch_tokens(ENCODER, BackendMode.EMBEDDING, 700, [], SETTINGS) == 700
    assert limited_context(DECODER, 10**6, SETTINGS) == 10**6
    assert limited_context(ENCODER, 100, SETTINGS) <= 100
