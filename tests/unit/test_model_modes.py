"""The modes of models, and what an operation takes of them."""

from __future__ import annotations

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.errors import ClientError
from runnerd.relay.model_modes import mode_for, modes
from runnerd.relay.operations import OPERATIONS


def test_what_completes_embeds_too() -> None:
    """Its own purpose comes first; what only embeds completes nothing."""
    assert modes(("completion", "vision")) == (BackendMode.COMPLETION, BackendMode.EMBEDDING)
    assert modes(("embedding",)) == (BackendMode.EMBEDDING,)
    assert modes(()) == ()


def test_an_operation_that_a_model_is_not_for() -> None:
    """The error says what it is for."""
    embeds = modes(("embedding",))
    assert mode_for(OPERATIONS["embeddings"], embeds, "m") is BackendMode.EMBEDDING
    with pytest.raises(ClientError, match="it is for: embedding"):
        mode_for(OPERATIONS["chat/completions"], embeds, "m")
