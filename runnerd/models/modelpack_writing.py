"""A model of the store in the form of the CNCF's ModelPack specification, for others.

The files stay as they are; config and manifest are written anew, without a time, so that one model
has one digest.  What a Modelfile sets has no type there: it travels as files of the weights'
configuration, under names that our own pull knows (`models/modelpack`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from runnerd.errors import NotSupported
from runnerd.models.digest import Digest
from runnerd.models.manifest import (
    GGUF_TYPE,
    LICENSE_TYPE,
    MANIFEST_TYPE,
    MMPROJ_TYPE,
    TEMPLATE_TYPE,
    Layer,
)
from runnerd.models.model import Model
from runnerd.models.modelpack import CONFIG_TYPES, SETTING_PATHS

Form = Literal["docker", "modelpack"]
"""How a model is written for others: as Docker Model Runner does, or as the CNCF's ModelPack."""

_TYPE = "application/vnd.cncf.model"
ARTIFACT_TYPE = f"{_TYPE}.manifest.v1+json"
_WEIGHTS, _CONFIGURATION, _DOCUMENT = (
    f"{_TYPE}.{kind}.v1.raw" for kind in ("weight", "weight.config", "doc")
)
_SCALES = ((10**15, "Q"), (10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


class ModelPack(msgspec.Struct, frozen=True):
    """What is sent: the manifest last, before it the config and the `layers` of the model."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def config_layer(self) -> Layer:
        """The config as a blob."""
        return Layer(CONFIG_TYPES[0], len(self.config), Digest.of(self.config))


def as_modelpack(model: Model) -> ModelPack:
    """A model in ModelPack's form.

    Raises errors.NotSupported for one with adapters: others would take them for weights.
    """
    manifest = model.manifest
    if manifest.adapters:
        raise NotSupported(
            "a ModelPack model cannot hold LoRA adapters; use Docker's form for this one"
            " (without `format`)"
        )
    named = list(_named(manifest.layers))
    config = msgspec.json.encode(
        {
            "descriptor": {"family": model.description.architecture},
            "config": {
                "architecture": model.description.architecture,
                "format": "gguf",
                "paramSize": param_size(model.description.parameter_count),
                "quantization": model.description.quantization,
            },
            "modelfs": {"type": "layers", "diffIds": [str(layer.digest) for *_, layer in named]},
        },
        order="sorted",
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": _entry(CONFIG_TYPES[0], len(config), Digest.of(config)),
        "layers": [
            _entry(kind, layer.size, layer.digest)
            | {"annotations": {"org.cncf.model.filepath": path}}
            for kind, path, layer in named
        ],
    }
    return ModelPack(
        msgspec.json.encode(document, order="sorted"),
        config,
        tuple(layer for *_, layer in named),
    )


def param_size(count: int) -> str:
    """A number of parameters as ModelPack writes it: `6.7B`."""
    for scale, letter in _SCALES:
        if count >= scale:
            return f"{count / scale:.1f}".removesuffix(".0") + letter
    return f"{count / 1000:.1f}K"


def _entry(kind: str, size: int, digest: Digest) -> dict[str, object]:
    return {"mediaType": kind, "size": size, "digest": str(digest)}


def _named(layers: Sequence[Layer]) -> Iterator[tuple[str, str, Layer]]:
    """The media type and the path of each layer."""
    count = {kind: sum(layer.media_type == kind for layer in layers) for kind in _PATHS}
    seen = dict.fromkeys(_PATHS, 0)
    for layer in layers:
        kind, path = _PATHS[layer.media_type]
        seen[layer.media_type] += 1
        number, all_of_them = seen[layer.media_type], count[layer.media_type]
        if layer.media_type == GGUF_TYPE and all_of_them > 1:
            path = f"model-{number:05}-of-{all_of_them:05}.gguf"
        elif number > 1:
            path = f"{path}.{number}" if layer.media_type == LICENSE_TYPE else f"{number}-{path}"
        yield kind, path, layer


_PATHS = {
    GGUF_TYPE: (_WEIGHTS, "model.gguf"),
    MMPROJ_TYPE: (_WEIGHTS, "mmproj.gguf"),
    TEMPLATE_TYPE: (_CONFIGURATION, "chat_template.jinja"),
    LICENSE_TYPE: (_DOCUMENT, "LICENSE"),
    **{kind: (_CONFIGURATION, path) for path, kind in SETTING_PATHS.items()},
}
"""What each of our types is there, and what its file is called."""
