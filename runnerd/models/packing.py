"""Writes models as tar archives: for export, and to hand local files to a daemon of another user.

The archive has the form that `archive.unpack` and Docker Model Runner read.  Its size is known
before its first byte.  Files are held open from when they were hashed until they are sent.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from runnerd import threads
from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.models.archive import BLOCK
from runnerd.models.description import describe
from runnerd.models.digest import Digest
from runnerd.models.intake import Progress
from runnerd.models.manifest import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Layer,
    Manifest,
    build_config,
    build_manifest,
)
from runnerd.models.model import Model
from runnerd.models.modelpack_writing import ARTIFACT_TYPE, Form, ModelPack, as_modelpack
from runnerd.models.reference import Reference
from runnerd.models.sources import Source, Sources, decode_template, default_reference, open_sources
from runnerd.threads import Stop

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry: its content is bytes, or an open file that is closed with the archive."""

    name: str
    size: int
    content: bytes | int


class Packed:
    """A model ready to be sent as an archive of `size` bytes.  Use it in a `with` or `close` it."""

    def __init__(
        self,
        id: Digest,
        members: Sequence[_Member],
        *,
        tag: Reference | None = None,
        close: Callable[[], None],
    ) -> None:
        self.id = id
        self.default_tag = tag
        self._members = members
        self._close = close

    def __enter__(self) -> Packed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._close()

    @property
    def size(self) -> int:
        """The bytes of the whole archive."""
        return 2 * BLOCK + sum(
            BLOCK + member.size + -member.size % BLOCK for member in self._members
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the archive.  Raises errors.InvalidModelFile when a file was cut meanwhile."""
        for member in self._members:
            yield _head(member)
            if isinstance(member.content, bytes):
                yield member.content
            else:
                async for chunk in _content(member.name, member.content, member.size):
                    yield chunk
            yield bytes(-member.size % BLOCK)
        yield bytes(2 * BLOCK)


async def pack_files(
    paths: Sequence[Path],
    *,
    mmproj: Path | None = None,
    chat_template: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Packed:
    """Pack a model from local files, without a store; `paths` as in `Store.import_files`.

    Reads every file once for its digest; `progress` is called in the thread that does so.
    `default_tag` of the result is the name that an import would have chosen.  Raises
    errors.InvalidModelFile, NotFound, Forbidden.
    """

    def work(stop: Stop) -> Packed:
        sources = open_sources(paths, mmproj=mmproj, chat_template=chat_template)
        try:
            return _pack(sources, progress, stop)
        except BaseException:
            sources.close()
            raise

    return await threads.run_stoppable(work, undo=Packed.close)


def pack_blobs(model: Model, path_of: Callable[[Digest], Path], form: Form = "docker") -> Packed:
    """Pack a model of the store.

    Raises errors.ModelNotFound when it was removed just now, NotSupported as `as_modelpack` does.
    """
    manifest, opened = model.manifest, dict[Digest, int]()
    packed = as_modelpack(model) if form == "modelpack" else None

    def close() -> None:
        while opened:
            os.close(opened.popitem()[1])

    try:
        for layer in manifest.blobs if packed is None else packed.layers:
            if layer.digest not in opened:
                path = path_of(layer.digest)
                opened[layer.digest] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        close()
        raise ModelNotFound(f"model {manifest.id} is no longer here") from error
    members = _members(manifest, opened) if packed is None else _layout(packed, model, opened)
    return Packed(manifest.id, members, close=close)


def _blob(layer: Layer, content: bytes | int) -> _Member:
    return _Member(f"blobs/sha256/{layer.digest.hex}", layer.size, content)


def _file(name: str, document: object) -> _Member:
    content = msgspec.json.encode(document, order="sorted")
    return _Member(name, len(content), content)


def _members(manifest: Manifest, blobs: Mapping[Digest, bytes | int]) -> list[_Member]:
    """An archive in Docker Model Runner's form."""
    return [
        *(_blob(layer, blobs[layer.digest]) for layer in manifest.blobs),
        _Member("manifest.json", len(manifest.raw), manifest.raw),
    ]


def _layout(packed: ModelPack, model: Model, blobs: Mapping[Digest, int]) -> list[_Member]:
    """An OCI image layout with one model in the CNCF's form."""
    manifest = Layer(MANIFEST_TYPE, len(packed.manifest), Digest.of(packed.manifest))
    entry: dict[str, object] = {
        "mediaType": manifest.media_type,
        "artifactType": ARTIFACT_TYPE,
        "size": manifest.size,
        "digest": str(manifest.digest),
    }
    if model.tags:
        entry["annotations"] = {"org.opencontainers.image.ref.name": model.tags[0]}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}
    return [
        _file("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        _file("index.json", index),
        _blob(packed.config_layer, packed.config),
        *(_blob(layer, blobs[layer.digest]) for layer in dict.fromkeys(packed.layers)),
        _blob(manifest, packed.manifest),
    ]


def _pack(sources: Sources, progress: Callable[[Progress], None] | None, stop: Stop) -> Packed:
    layers: list[Layer] = []
    blobs: dict[Digest, bytes | int] = {}
    total = sum(source.size for source in sources.files)
    for source in sources.files:
        digest = _digest(source, total, progress, stop)
        layers.append(Layer(source.media_type, source.size, digest))
        blobs[digest] = source.descriptor
    template = sources.chat_template
    description = describe(
        sources.headers,
        mmproj=sources.mmproj.header if sources.mmproj else None,
        chat_template=_template(template) if template else None,
    )
    config = build_config(description, layers)
    blobs[Digest.of(config)] = config
    manifest = build_manifest(config, layers)
    tag = default_reference(sources.name)
    return Packed(manifest.id, _members(manifest, blobs), tag=tag, close=sources.close)


def _template(source: Source) -> str:
    return decode_template(os.pread(source.descriptor, source.size, 0), source.name)


def _digest(
    source: Source, total: int, progress: Callable[[Progress], None] | None, stop: Stop
) -> Digest:
    hasher, place = hashlib.sha256(), 0
    while place < source.size:
        stop.check()
        chunk = _read(source.name, source.descriptor, source.size, place)
        hasher.update(chunk)
        place += len(chunk)
        if progress:
            progress(Progress(total, source.name, source.size, place))
    return Digest(hasher.hexdigest())


async def _content(name: str, descriptor: int, size: int) -> AsyncIterator[bytes]:
    place = 0
    while place < size:
        chunk = await _piece(name, descriptor, size, place)
        yield chunk
        place += len(chunk)


async def _piece(name: str, descriptor: int, size: int, place: int) -> bytes:
    return await threads.run(_read, name, descriptor, size, place)


def _read(name: str, descriptor: int, size: int, place: int) -> bytes:
    chunk = os.pread(descriptor, min(_CHUNK_BYTES, size - place), place)
    if not chunk:
        raise InvalidModelFile(f"{name} became shorter while it was read")
    return chunk


def _head(member: _Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.size, 0o644
    # GNU's number format holds any size in the one block that `size` counts.
    return info.tobuf(tarfile.GNU_FORMAT)
