"""What Ollama's clients call models."""

from __future__ import annotations

from typing import Any, Protocol

from runnerd.api.context import text_field
from runnerd.errors import ClientError
from runnerd.models.model import Model


def model_name(document: dict[str, Any]) -> str:
    """Return the model that a request names, in the deprecated member too.

    Raises errors.ClientError.
    """
    name = text_field(document, "model") or text_field(document, "name")
    if name is None:
        raise ClientError("model is required", param="model")
    return name


def familiar(tag: str) -> str:
    """Return a tag as Ollama's clients write it: without our default organisation."""
    return tag.removeprefix("ai/")


class Models(Protocol):
    """Where models are looked up by name."""

    def get(self, text: str) -> Model:
        """Return the model.  Raises errors.ModelNotFound."""
        ...
