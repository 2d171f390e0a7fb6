"""A model as an OCI manifest: a config and layers, each named by its digest and typed by its media
type.

The form is Docker Model Runner's, so that models move between both.  The model's id is the digest
of the manifest's bytes.  What we write holds no time, so the same files always have the same id;
what others wrote is kept byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.errors import InvalidModelFile, InvalidReference
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.modelfile import (
    GO_TEMPLATE_TYPE,
    MESSAGES_TYPE,
    PARAMETERS_TYPE,
    SYSTEM_TYPE,
)

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.docker.ai.model.config.v0.1+json"
CONFIG_TYPES = (CONFIG_TYPE, "application/vnd.docker.ai.model.config.v0.2+json")
GGUF_TYPE = "application/vnd.docker.ai.gguf.v3"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MMPROJ_TYPE = "application/vnd.docker.ai.mmproj"
TEMPLATE_TYPE = "application/vnd.docker.ai.chat.template.jinja"
LICENSE_TYPE = "application/vnd.docker.ai.license"
# What Docker has no types for is kept under Ollama's (further ones: models/modelfile).
ADAPTER_TYPE = "application/vnd.ollama.image.adapter"

MOST_BYTES = 4 * 2**20  # of a manifest or a config
MOST_LAYERS = 1000

_TYPES = frozenset({
    GGUF_TYPE, MMPROJ_TYPE, TEMPLATE_TYPE, LICENSE_TYPE, ADAPTER_TYPE, GO_TEMPLATE_TYPE,
    SYSTEM_TYPE, PARAMETERS_TYPE, MESSAGES_TYPE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a model: what it is for, its size in bytes, its digest."""

    media_type: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """The blobs of one model.  `raw` is what its id is the digest of."""

    raw: bytes
    config: Layer
    layers: tuple[Layer, ...]

    @property
    def id(self) -> Digest:
        """The model's id."""
        return Digest.of(self.raw)

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """The config and the layers, each digest once."""
        return tuple({layer.digest: layer for layer in (self.config, *self.layers)}.values())

    @property
    def weights(self) -> tuple[Layer, ...]:
        """The GGUF shards in order."""
        return self.of_type(GGUF_TYPE)

    @property
    def mmproj(self) -> Layer | None:
        """The projector, for models that see."""
        return next(iter(self.of_type(MMPROJ_TYPE)), None)

    @property
    def chat_template(self) -> Layer | None:
        """The chat template that replaces the one in the weights."""
        return next(iter(self.of_type(TEMPLATE_TYPE)), None)

    @property
    def adapters(self) -> tuple[Layer, ...]:
        """The LoRA adapters, in order."""
        return self.of_type(ADAPTER_TYPE)

    def of_type(self, media_type: str) -> tuple[Layer, ...]:
        """Return the layers with one media type, in order."""
        return tuple(layer for layer in self.layers if layer.media_type == media_type)


class _Entry(msgspec.Struct, rename={"media_type": "mediaType"}):
    media_type: str
    size: int
    digest: str


class _Document(
    msgspec.Struct, rename={"schema_version": "schemaVersion", "media_type": "mediaType"}
):
    config: _Entry
    layers: list[_Entry]
    schema_version: int = 2
    media_type: str = MANIFEST_TYPE


class _PackagedConfig(msgspec.Struct):
    context_size: int | None = None


class _Config(msgspec.Struct):
    config: _PackagedConfig = msgspec.field(default_factory=_PackagedConfig)


def parse_manifest(raw: bytes) -> Manifest:
    """Return the manifest written in `raw`.

    Raises errors.InvalidModelFile for one that is malformed, too large or of another kind of model.
    """
    if len(raw) > MOST_BYTES:
        raise InvalidModelFile(
            f"the manifest has {len(raw)} bytes; at most {MOST_BYTES} are accepted"
        )
    try:
        document = msgspec.json.decode(raw, type=_Document)
        manifest = Manifest(
            raw, _layer(document.config), tuple(_layer(layer) for layer in document.layers)
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidReference, RecursionError) as error:
        raise InvalidModelFile(f"the manifest cannot be read: {error}") from error
    _check(manifest)
    return manifest


def build_manifest(config: bytes, layers: Sequence[Layer]) -> Manifest:
    """Return the manifest of a model with this config and these layers."""
    document = _Document(
        config=_Entry(CONFIG_TYPE, len(config), str(Digest.of(config))),
        layers=[_Entry(layer.media_type, layer.size, str(layer.digest)) for layer in layers],
    )
    return parse_manifest(msgspec.json.encode(document, order="sorted"))


def build_config(description: Description, layers: Sequence[Layer]) -> bytes:
    """Return the config of a model, as Docker Model Runner reads it."""
    config: dict[str, object] = {
        "format": "gguf",
        "quantization": description.quantization,
        "parameters": description.parameters,
        "architecture": description.architecture,
        "size": description.size,
        "gguf": description.metadata,
    }
    if description.context_size is not None:
        config["context_size"] = description.context_size
    document = {
        "config": config,
        "descriptor": {},
        "rootfs": {"type": "rootfs", "diff_ids": [str(layer.digest) for layer in layers]},
    }
    return msgspec.json.encode(document, order="sorted")


def repackaged(
    manifest: Manifest, config: bytes, context_size: int | None
) -> tuple[Manifest, bytes]:
    """Return a model's manifest and config with another context size and nothing else changed.

    Raises errors.InvalidModelFile.
    """
    try:
        about = msgspec.json.decode(config, type=dict[str, Any])
        document = msgspec.json.decode(manifest.raw, type=dict[str, Any])
        if context_size is not None:
            about.setdefault("config", {})["context_size"] = context_size
        changed = msgspec.json.encode(about)
        document["config"] |= {"size": len(changed), "digest": str(Digest.of(changed))}
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise InvalidModelFile(f"the model's config cannot be read: {error}") from error
    return parse_manifest(msgspec.json.encode(document)), changed


def packaged_context_size(config: bytes) -> int | None:
    """Return the context size that a packager wrote into a model's config, in tokens."""
    try:
        value = msgspec.json.decode(config, type=_Config).config.context_size
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModelFile(f"the model's config cannot be read: {error}") from error
    return value if value is not None and 0 < value < 2**31 else None


def _layer(entry: _Entry) -> Layer:
    if entry.size < 0:
        raise InvalidModelFile("the manifest has a layer of negative size")
    return Layer(entry.media_type, entry.size, Digest.parse(entry.digest))


def _check(manifest: Manifest) -> None:
    if manifest.config.media_type not in CONFIG_TYPES:
        raise InvalidModelFile(
            f"the model's config has the media type {manifest.config.media_type[:120]!r};"
            f" {' and '.join(CONFIG_TYPES)} can be used"
        )
    if manifest.config.size > MOST_BYTES or len(manifest.layers) > MOST_LAYERS:
        raise InvalidModelFile("the model's config is too large or it has too many layers")
    for layer in manifest.layers:
        if layer.media_type not in _TYPES:
            raise InvalidModelFile(
                f"the model has a layer of the type {layer.media_type[:120]!r};"
                " only GGUF models can be used"
            )
    if not manifest.weights:
        raise InvalidModelFile("the model has no GGUF layer")
