"""What Ollama has on this host: manifests by name, and blobs by digest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.errors import RunnerdError
from runnerd.models.found_models import FoundModel
from runnerd.regular import read

_TYPE = "application/vnd.ollama.image."
_HOST, _NAMESPACE = "registry.ollama.ai", "library"
_MOST_BYTES = 4 * 2**20  # of a manifest or a small layer


def models_of_ollama(folder: Path) -> Iterator[FoundModel]:
    """The models below MODELS/manifests/HOST/NAMESPACE/NAME/TAG.  Raises OSError."""
    for path in sorted((folder / "manifests").glob("*/*/*/*")):
        if path.is_file() and (model := _model(folder, path)) is not None:
            yield model


def set_up(client: Client, name: str, settings: dict[str, object]) -> None:
    """Give a model what Ollama had set for it: system text, parameters, template, messages.

    A template that cannot be put into Jinja is left out and told: the weights have one, too.
    """
    try:
        _create(client, {"model": name, "from": name, **settings})
    except RunnerdError as error:
        if "template" not in settings:
            raise
        print(f"{name}: without Ollama's template ({error.message})", file=sys.stderr)
        rest = {key: value for key, value in settings.items() if key != "template"}
        if rest:
            _create(client, {"model": name, "from": name, **rest})


def _create(client: Client, document: dict[str, object]) -> None:
    for line in client.lines("POST", "/api/create", document):
        if "error" in (said := json.loads(line)):
            raise DaemonError(str(said["error"]))


def _model(folder: Path, path: Path) -> FoundModel | None:
    """The model of one manifest; None where there is none that a llama.cpp server can use."""
    try:
        manifest = json.loads(read(path, most=_MOST_BYTES))
        layers = {layer["mediaType"].removeprefix(_TYPE): layer for layer in manifest["layers"]}
        weights = layers["model"]
        blob = _blob(folder, weights)
        if not blob.is_file():
            return None
        projector = _blob(folder, layers["projector"]) if "projector" in layers else None
        settings = _settings(folder, manifest["layers"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"runnerd: {path} is no manifest that can be read: {error!r}", file=sys.stderr)
        return None
    return FoundModel(blob, int(weights["size"]), projector, _name(path, folder), settings)


def _name(path: Path, folder: Path) -> str:
    host, namespace, model, tag = path.relative_to(folder / "manifests").parts
    if host != _HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == _NAMESPACE else f"{namespace}/{model}:{tag}"


def _blob(folder: Path, layer: dict[str, Any]) -> Path:
    algorithm, _, hex = layer["digest"].partition(":")
    if algorithm != "sha256" or len(hex) != 64 or not hex.isalnum():
        raise ValueError(f"{layer['digest']!r} is no digest")
    return folder / "blobs" / f"sha256-{hex}"


def _settings(folder: Path, layers: list[dict[str, Any]]) -> dict[str, object]:
    """What is set for a model, as `POST /api/create` takes it."""
    found: dict[str, object] = {}
    licenses: list[str] = []
    for layer in layers:
        kind = layer["mediaType"].removeprefix(_TYPE)
        if kind in ("template", "system"):
            found[kind] = _text(folder, layer)
        elif kind == "params":
            found["parameters"] = json.loads(_text(folder, layer))
        elif kind == "messages":
            found["messages"] = json.loads(_text(folder, layer))
        elif kind == "license":
            licenses.append(_text(folder, layer))
    if licenses:
        found["license"] = licenses
    return found


def _text(folder: Path, layer: dict[str, Any]) -> str:
    return read(_blob(folder, layer), most=_MOST_BYTES).decode("utf-8", "replace")
