"""Models that a backend keeps itself (`Backend.uses_external_model_management`).

The store knows nothing of them: they have no files here, so their names are their ids, and nothing
that a request asks of them is refused before the engine has seen it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from runnerd.backends.configuration import BackendMode
from runnerd.backends.model_files import ModelFacts
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import CONFIG_TYPE, Layer, Manifest
from runnerd.models.model import Model

_NOTHING = Manifest(b"", Layer(CONFIG_TYPE, 0, Digest.of(b"")), ())
_ANYTHING = Description(
    architecture="",
    parameters="",
    quantization="",
    size="",
    capabilities=(*(mode.value for mode in BackendMode), "tools", "vision", "audio"),
    facts=ModelFacts(),
)


@dataclass(frozen=True, slots=True)
class ExternalId(Digest):
    """The id of such a model: its name, where others have the digest of their manifest."""

    def __post_init__(self) -> None: ...  # any name will do

    def __str__(self) -> str:
        return self.hex


@lru_cache(1024)
def external_model(name: str) -> Model:
    """The model of a backend's own that is called `name`; mostly the same object each time."""
    return Model(ExternalId(name), (name,), 0, _ANYTHING, _NOTHING)
