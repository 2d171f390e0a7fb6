"""Models packed after the CNCF's ModelPack specification, and Docker's form of it.

Such a manifest types its layers by what they hold (weights, documents, code) and names the file of
each in an annotation.  Of GGUF models we take what an engine uses and put it under our own types;
the manifest becomes one of ours (https://github.com/modelpack/model-spec).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from runnerd.errors import InvalidModelFile, InvalidReference
from runnerd.models.digest import Digest
from runnerd.models.manifest import (
    GGUF_TYPE,
    LICENSE_TYPE,
    MMPROJ_TYPE,
    MOST_BYTES,
    MOST_LAYERS,
    TEMPLATE_TYPE,
    Layer,
)
from runnerd.models.modelfile import (
    GO_TEMPLATE_TYPE,
    MESSAGES_TYPE,
    PARAMETERS_TYPE,
    SYSTEM_TYPE,
)

SETTING_PATHS = {
    "modelfile/template": GO_TEMPLATE_TYPE,
    "modelfile/system": SYSTEM_TYPE,
    "modelfile/params.json": PARAMETERS_TYPE,
    "modelfile/messages.json": MESSAGES_TYPE,
}
"""Where a Modelfile's settings lie in models that we pack (`models/modelpack_writing`)."""

CONFIG_TYPES = (
    "application/vnd.cncf.model.config.v1+json",
    "application/vnd.cnai.model.config.v1+json",  # its name before it was the CNCF's
)
_FILE_TYPE = "application/vnd.docker.ai.model.file"
_LAYER = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.(?P<kind>[a-z.]+)\.v1\.(?P<form>.+)")
_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
_LONGEST_PATH = 1024


class PackedLayer(NamedTuple):
    """A layer under the type that it has here, and the path of its file."""

    path: str
    layer: Layer


class _Entry(msgspec.Struct, rename="camel"):
    media_type: str
    size: int
    digest: str
    annotations: dict[str, str] | None = None


class _Config(msgspec.Struct, rename="camel"):
    media_type: str
    size: int = -1
    digest: str = ""


class _Manifest(msgspec.Struct):
    config: _Config
    layers: list[_Entry]


def modelpack_layers(raw: bytes) -> list[PackedLayer] | None:
    """The layers of a packed GGUF model, in our types and the order of its parts; None for a
    manifest of another kind.

    Raises errors.InvalidModelFile for one without GGUF files, or whose weights are archives.
    """
    try:
        manifest = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    files = any(entry.media_type == _FILE_TYPE for entry in manifest.layers)
    if manifest.config.media_type not in CONFIG_TYPES and not files:
        return None
    if len(manifest.layers) > MOST_LAYERS:
        raise InvalidModelFile("the model has too many layers")
    found = [packed for entry in manifest.layers if (packed := _packed(entry)) is not None]
    if not any(packed.layer.media_type == GGUF_TYPE for packed in found):
        raise InvalidModelFile("the packed model has no GGUF file; only GGUF models can be used")
    return sorted(found, key=lambda packed: (_ORDER.index(packed.layer.media_type), packed.path))


def modelpack_config(raw: bytes) -> Layer | None:
    """The config of a packed model, where it is one of ModelPack's."""
    config = msgspec.json.decode(raw, type=_Manifest).config
    if config.media_type not in CONFIG_TYPES or not 0 <= config.size <= MOST_BYTES:
        return None
    try:
        return Layer(config.media_type, config.size, Digest.parse(config.digest))
    except InvalidReference:
        return None


_ORDER = (GGUF_TYPE, MMPROJ_TYPE, TEMPLATE_TYPE, LICENSE_TYPE, *SETTING_PATHS.values())


def _packed(entry: _Entry) -> PackedLayer | None:
    """A layer as it is taken, None for what an engine has no use for."""
    annotations = entry.annotations or {}
    path = next((annotations[name] for name in _PATHS if name in annotations), "")[:_LONGEST_PATH]
    found = _LAYER.fullmatch(entry.media_type)
    if found is None and entry.media_type != _FILE_TYPE:
        kind = None
    else:
        kind = _kind(path.lower(), found["form"] if found else "raw")
    if kind is None:
        return None
    if found is not None and found["form"] not in ("raw", "gguf"):
        raise InvalidModelFile(
            f"{path[:120] or 'a layer'} of the packed model is an archive ({found['form'][:40]});"
            " pack the model with raw layers"
        )
    try:
        digest = Digest.parse(entry.digest)
    except InvalidReference as error:
        raise InvalidModelFile(f"the manifest cannot be read: {error.message}") from error
    if entry.size < 0:
        raise InvalidModelFile("the manifest has a layer of negative size")
    return PackedLayer(path, Layer(kind, entry.size, digest))


def _kind(path: str, form: str) -> str | None:
    """Our type for a file of this path."""
    if path in SETTING_PATHS:
        return SETTING_PATHS[path]
    name = path.rpartition("/")[2]
    if name.endswith(".gguf") or form == "gguf":
        return MMPROJ_TYPE if "mmproj" in name else GGUF_TYPE
    if name.endswith(".jinja"):
        return TEMPLATE_TYPE
    return LICENSE_TYPE if re.match(r"licen[cs]e(?:\.|$)", name) else None
