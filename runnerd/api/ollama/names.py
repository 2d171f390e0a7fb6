"""What Ollama's clients call models: in upper or lower case, tags too."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from runnerd.api.context import text_field
from runnerd.errors import ClientError, InvalidReference, ModelNotFound
from runnerd.models.catalog import Model
from runnerd.models.reference import Reference


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

    def list(self) -> list[Model]:
        """Return all models."""
        ...


def known_name(models: Models, name: str) -> str:
    """Return a name as it is known, or the name itself where it is not known at all."""
    try:
        models.get(name)
    except ModelNotFound:
        with contextlib.suppress(InvalidReference):
            wanted = str(Reference.parse(name)).lower()
            tags = [tag for model in models.list() for tag in model.tags]
            return next((tag for tag in tags if tag.lower() == wanted), name)
    return name


def find_model(models: Models, name: str) -> Model:
    """Return the model that a client means.  Raises errors.ModelNotFound."""
    return models.get(known_name(models, name))
