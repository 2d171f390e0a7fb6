"""What is known of a model before an engine has loaded it, as far as requests are judged by it."""

from __future__ import annotations

from typing import NamedTuple

from runnerd.backends.model_files import ModelFacts
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import Layer, Manifest
from runnerd.models.model import Model

_WITHOUT_SPECIAL_TOKENS = ("gpt2", "llama")
"""Tokenizers that put nothing around a text where the header says so."""


class KnownModel(NamedTuple):
    """The defaults say that nothing is known: then nothing is refused because of it.

    `vocabulary` and `dimensions` (of an embedding) are upper bounds, 0 where unknown;
    `embeds_empty` says whether an empty text may have tokens; engines refuse to embed none.
    """

    capabilities: tuple[str, ...] | None = None
    vocabulary: int = 0
    dimensions: int = 0
    embeds_empty: bool = True

    def perceives(self, *kinds: str) -> bool:
        """Return whether the model may have one of these senses."""
        return self.capabilities is None or any(kind in self.capabilities for kind in kinds)


UNKNOWN = KnownModel()

_UNSEEN_ID = Digest.of(b"")
UNSEEN = Model(
    id=_UNSEEN_ID,
    tags=(),
    created=0,
    description=Description(
        architecture="",
        parameters="",
        quantization="",
        size="",
        capabilities=("completion", "embedding", "tools", "thinking", "insert", "vision", "audio"),
        facts=ModelFacts(),
    ),
    manifest=Manifest(b"", Layer("", 0, _UNSEEN_ID), ()),
)
"""A model that is not here, and might be able to do everything."""


def known_model(model: Model) -> KnownModel:
    """What the store knows of a model."""
    found = model.description
    return KnownModel(
        found.capabilities,
        found.facts.vocabulary_size,
        _dimensions(found.metadata, found.facts.architecture, found.facts.embedding_length),
        _embeds_empty(found.metadata),
    )


def _dimensions(metadata: dict[str, str], architecture: str, width: int) -> int:
    """Return how many dimensions an embedding has at most; layers behind the model may widen it."""
    names = ("embedding_length_out", "dense_2_feat_out", "dense_3_feat_out")
    said = [metadata.get(f"{architecture}.{name}", "") for name in names]
    return max([width, *(int(number) for number in said if number.isdigit())]) if width else 0


def _embeds_empty(metadata: dict[str, str]) -> bool:
    """Return whether an empty text may have tokens: those that are put around every text."""
    return not (
        metadata.get("tokenizer.ggml.model") in _WITHOUT_SPECIAL_TOKENS
        and metadata.get("tokenizer.ggml.add_bos_token") == "false"
        and metadata.get("tokenizer.ggml.add_eos_token", "false") == "false"
    )
