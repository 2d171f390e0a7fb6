"""Manifests after the ModelPack specification; pulls of them are in test_pull_sources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import InvalidModelFile
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.models.modelpack import modelpack_layers

CNCF = "application/vnd.cncf.model"


def manifest(*layers: dict[str, Any], config: str = f"{CNCF}.config.v1+json") -> bytes:
    """A manifest with these layers."""
    return json.dumps({"config": {"mediaType": config}, "layers": list(layers)}).encode()


def layer(path: str, kind: str = f"{CNCF}.weight.v1.raw", **changes: Any) -> dict[str, Any]:
    """One layer."""
    return {
        "mediaType": kind,
        "size": 5,
        "digest": "sha256:" + "0" * 64,
        "annotations": {"org.cncf.model.filepath": path},
        **changes,
    }


def test_parts_are_in_order() -> None:
    """Whatever the order in the manifest; the projector comes behind."""
    names = ["m-00002-of-00002.gguf", "mmproj.gguf", "m-00001-of-00002.gguf", "tokenizer.json"]
    found = modelpack_layers(manifest(*map(layer, names)))
    assert found is not None
    assert [(each.path, each.layer.media_type) for each in found] == [
        ("m-00001-of-00002.gguf", GGUF_TYPE),
        ("m-00002-of-00002.gguf", GGUF_TYPE),
        ("mmproj.gguf", MMPROJ_TYPE),
    ]


def test_forms_of_docker() -> None:
    """A type for GGUF, and files with a path alone."""
    for kind in (f"{CNCF}.weight.v1.gguf", "application/vnd.docker.ai.model.file"):
        found = modelpack_layers(manifest(layer("m.gguf", kind), config="x"))
        assert (found is None) == (kind != "application/vnd.docker.ai.model.file")
        assert modelpack_layers(manifest(layer("m.gguf", kind)))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", manifest(layer("m.gguf"), config="x")])
def test_other_manifests(raw: bytes) -> None:
    """They are somebody else's."""
    assert modelpack_layers(raw) is None


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [layer("m.safetensors")],
        [layer("m.gguf", f"{CNCF}.weight.v1.tar")],
        [layer("m.gguf", size=-1)],
        [layer("m.gguf", digest="sha256:x")],
        [layer("m.gguf")] * 1001,
    ],
)
def test_what_cannot_be_used(layers: list[dict[str, Any]]) -> None:
    """It is refused with the reason."""
    with pytest.raises(InvalidModelFile):
        modelpack_layers(manifest(*layers))


@given(st.binary() | st.text().map(lambda text: manifest(layer(text, text))))
def test_any_bytes(raw: bytes) -> None:
    """Layers, nothing, or a reason."""
    try:
        found = modelpack_layers(raw)
    except InvalidModelFile:
        return
    assert found is None or found
