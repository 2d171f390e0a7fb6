"""A model of the store: what it is made of, what it can do, and how clients are told of it.

It never changes; who removes a tag or adds one makes another value (`catalog`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What Docker Model Runner's clients show of a model; JSON names are theirs."""

    format: str
    quantization: str
    parameters: str
    architecture: str
    size: str
    gguf: dict[str, str] = field(default_factory=dict)
    context_size: int | None = None

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        document: dict[str, object] = {
            "format": self.format,
            "quantization": self.quantization,
            "parameters": self.parameters,
            "architecture": self.architecture,
            "size": self.size,
            "gguf": self.gguf,
        }
        if self.context_size is not None:
            document["context_size"] = self.context_size
        return document


LOAD = "load="
"""What the name of a load begins with; no model's name and no id has such a beginning."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the store.  `created` is in unix seconds, `context_length` in tokens.

    `load` names what an engine is started with for it: weights, projector, adapters, template and
    the context that its maker asks for.  Models that differ in nothing of that share it.
    """

    id: Digest
    tags: tuple[str, ...]
    created: int
    description: Description
    manifest: Manifest
    borrowed_bytes: int = 0  # of files that are not the store's
    load: str = field(init=False)

    def __post_init__(self) -> None:
        manifest = self.manifest
        layers = (*manifest.weights, manifest.mmproj, manifest.chat_template, *manifest.adapters)
        parts = [f"{layer.media_type} {layer.digest}" for layer in layers if layer is not None]
        text = "\n".join([*parts, f"context {self.description.modelfile.context_size}"])
        object.__setattr__(self, "load", LOAD + Digest.of(text.encode()).hex[:24])

    @property
    def name(self) -> str:
        """What clients are told that it is called: its first tag, else its short id."""
        return self.names[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that it is called: its tags, else its short id."""
        return self.tags or (self.id.short,)

    @property
    def config(self) -> ModelConfig:
        """The fields that Docker Model Runner lists."""
        found = self.description
        return ModelConfig(
            format="gguf",
            quantization=found.quantization,
            parameters=found.parameters,
            architecture=found.architecture,
            size=found.size,
            gguf=found.metadata,
            context_size=found.context_size,
        )

    @property
    def size_bytes(self) -> int:
        """The size of all its blobs but the config."""
        return sum(layer.size for layer in self.manifest.layers)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Some of completion, embedding, reranking, tools, thinking, insert, vision, audio."""
        return self.description.capabilities

    @property
    def context_length(self) -> int | None:
        """The context that it was trained for, in tokens."""
        return self.description.context_length

    @property
    def chat_template(self) -> str | None:
        """The Jinja source; for showing only, it is never rendered here."""
        return self.description.chat_template

    def to_json(self) -> dict[str, object]:
        """Return Docker Model Runner's model object, with our additions under `runnerd`."""
        return {
            "id": str(self.id),
            "tags": list(self.tags),
            "created": self.created,
            "config": self.config.to_json(),
            "runnerd": {
                "size_bytes": self.size_bytes,
                "context_length": self.context_length,
                "capabilities": list(self.capabilities),
                "chat_template": self.chat_template,
                "mmproj": self.manifest.mmproj is not None,
                "borrowed_bytes": self.borrowed_bytes,
            },
        }
