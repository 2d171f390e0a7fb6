"""A model's files under the names that llama.cpp expects, as further names of its blobs.

llama.cpp finds the parts of a split model by their file names, so each model has a folder of hard
links: `model.gguf` or `model-00001-of-0000N.gguf`, `model.mmproj`, `adapter-1.gguf`,
`template.jinja`, and the description.  Borrowed files get symbolic links.  A bundle holds nothing
of its own; it is made again whenever it is missing or does not match.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from runnerd.backends.model_files import ModelFiles
from runnerd.durable import sync_folder, write_new
from runnerd.errors import InvalidModelFile
from runnerd.models.description import Description, check_role, describe
from runnerd.models.gguf import read_header
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.header_values import check_values
from runnerd.models.layout import Layout, discard, tidy
from runnerd.models.manifest import (
    ADAPTER_TYPE,
    GGUF_TYPE,
    MMPROJ_TYPE,
    TEMPLATE_TYPE,
    Layer,
    Manifest,
)
from runnerd.models.modelfile import read_modelfile
from runnerd.models.sources import read_template
from runnerd.models.split_files import check_split
from runnerd.regular import read_json

# Raised when `describe` learns something new: older descriptions are then made again.
_DESCRIPTION_VERSION = 4

_DESCRIPTION_BYTES = 64 * 2**20


class _Described(msgspec.Struct):
    version: int
    description: Description


def make_bundle(layout: Layout, manifest: Manifest, description: Description) -> None:
    """Make the bundle of a model whose blobs are in place, replacing an older one."""
    folder = layout.fresh()
    folder.mkdir(mode=0o750)
    try:
        for name, layer in _names(manifest).items():
            if layer.digest in layout.borrowed:  # a further name would outlive what its owner does
                (folder / name).symlink_to(layout.content(layer.digest))
            else:
                _link(layout.blob(layer.digest), folder / name)
        content = msgspec.json.encode(_Described(_DESCRIPTION_VERSION, description))
        write_new(folder / "description.json", content)
        sync_folder(folder)
        final = layout.bundle(manifest.id)
        discard(final)
        os.rename(folder, final)
    except BaseException:
        tidy(folder)
        raise
    sync_folder(layout.bundles)


def ensure_bundle(layout: Layout, manifest: Manifest, description: Description) -> None:
    """Make the bundle of a model unless it is there; engines may be starting from it."""
    if not is_complete(layout, manifest) or read_description(layout, manifest) is None:
        make_bundle(layout, manifest, description)


def is_complete(layout: Layout, manifest: Manifest) -> bool:
    """Say whether a model's bundle has every file, each of them the store's blob."""
    folder = layout.bundle(manifest.id)
    return all(
        _same(folder / name, layout.content(layer.digest))
        for name, layer in _names(manifest).items()
    )


def bundle_files(layout: Layout, manifest: Manifest, description: Description) -> ModelFiles:
    """Return where the files of a model are, once its bundle is complete."""
    folder = layout.bundle(manifest.id)
    return ModelFiles(
        weights=folder / next(iter(_names(manifest))),
        weights_bytes=sum(layer.size for layer in manifest.weights + manifest.adapters),
        mmproj=folder / "model.mmproj" if manifest.mmproj else None,
        chat_template=folder / "template.jinja" if manifest.chat_template else None,
        adapters=tuple(folder / name for name in _adapters(manifest)),
        context_size=description.modelfile.context_size,
        facts=description.facts,
        senses=description.senses,
    )


def read_description(layout: Layout, manifest: Manifest) -> Description | None:
    """Return the description kept in a bundle, or None where there is no usable one."""
    try:
        file = layout.bundle(manifest.id) / "description.json"
        found = read_json(file, _Described, most=_DESCRIPTION_BYTES)
    except OSError:
        return None
    return found.description if found.version == _DESCRIPTION_VERSION else None


def describe_files(
    layers: Sequence[Layer],
    files: Sequence[Path],
    names: Sequence[str],
    context_size: int | None = None,
) -> Description:
    """Describe the model whose `layers` are in `files`; `names` are for the messages.

    Raises errors.InvalidModelFile when they are not what their types say or do not belong together.
    """
    shards: list[GGUFHeader] = []
    mmproj: GGUFHeader | None = None
    template: str | None = None
    for layer, file, name in zip(layers, files, names, strict=True):
        if layer.media_type == GGUF_TYPE:
            shards.append(read_header(file, name))
            check_values(shards[-1])
        elif layer.media_type == MMPROJ_TYPE:
            mmproj = read_header(file, name)
            check_role(mmproj, "mmproj")
        elif layer.media_type == ADAPTER_TYPE:
            check_role(read_header(file, name), "adapter")
        elif layer.media_type == TEMPLATE_TYPE:
            template = read_template(file, name)
    if not shards:
        raise InvalidModelFile("the model has no GGUF layer: it needs the weights of a model")
    check_split(shards)
    return describe(
        shards,
        mmproj=mmproj,
        chat_template=template,
        context_size=context_size,
        modelfile=read_modelfile([layer.media_type for layer in layers], files, names),
    )


def _names(manifest: Manifest) -> dict[str, Layer]:
    """Return the bundle's files, the (first) weights first."""
    weights, count = manifest.weights, len(manifest.weights)
    if count == 1:
        names = {"model.gguf": weights[0]}
    else:
        names = {f"model-{i:05}-of-{count:05}.gguf": layer for i, layer in enumerate(weights, 1)}
    if manifest.mmproj:
        names["model.mmproj"] = manifest.mmproj
    if manifest.chat_template:
        names["template.jinja"] = manifest.chat_template
    return names | _adapters(manifest)


def _adapters(manifest: Manifest) -> dict[str, Layer]:
    return {f"adapter-{i}.gguf": layer for i, layer in enumerate(manifest.adapters, 1)}


def _link(blob: Path, name: Path) -> None:
    try:
        os.link(blob, name)
    except OSError:  # a file system without hard links, or too many of them
        os.symlink(Path("..", "..", "..", "blobs", "sha256", blob.name), name)


def _same(name: Path, blob: Path) -> bool:
    try:
        return os.path.samefile(name, blob)
    except OSError:
        return False
