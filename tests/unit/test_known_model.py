"""What a model's header says of the requests that it can answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runnerd.backends.model_files import ModelFacts
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import Layer, Manifest
from runnerd.models.model import Model
from runnerd.relay.known_model import UNKNOWN, known_model

_ID = Digest.of(b"")
_FACTS = ModelFacts(architecture="a", embedding_length=64, vocabulary_size=300)
_DESCRIPTION = Description("a", "", "", "", ("embedding",), _FACTS)
_TOKENIZER = "tokenizer.ggml."


def described(metadata: dict[str, str]) -> Model:
    """Return a model with this metadata."""
    description = replace(_DESCRIPTION, metadata=metadata)
    return Model(_ID, (), 0, description, Manifest(b"", Layer("", 0, _ID), ()))


@pytest.mark.parametrize(
    ("said", "embeds_empty"),
    [
        ({}, True),
        ({"model": "gpt2"}, True),
        ({"model": "gpt2", "add_bos_token": "false"}, False),
        ({"model": "gpt2", "add_bos_token": "false", "add_eos_token": "true"}, True),
        ({"model": "llama", "add_bos_token": "false", "add_eos_token": "false"}, False),
        ({"model": "bert", "add_bos_token": "false"}, True),
    ],
)
def test_an_empty_text_has_the_tokens_around_it(said: dict[str, str], embeds_empty: bool) -> None:
    """Only a header that says there are none is believed; defaults are the engine's."""
    model = described({_TOKENIZER + name: value for name, value in said.items()})
    assert known_model(model).embeds_empty is embeds_empty


def test_layers_behind_the_model_widen_its_embeddings() -> None:
    """The most that any of them can give is the bound."""
    assert known_model(described({})).dimensions == 64
    assert known_model(described({"a.embedding_length_out": "256"})).dimensions == 256
    assert known_model(described({"a.dense_3_feat_out": "32"})).dimensions == 64


def test_of_a_model_that_is_not_here_everything_is_possible() -> None:
    """Nothing is refused for what may turn out otherwise."""
    assert UNKNOWN.perceives("vision")
    assert UNKNOWN.embeds_empty
    assert not known_model(described({})).perceives("vision", "audio")
    assert known_model(described({})).vocabulary == 300
