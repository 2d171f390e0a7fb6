"""The files that an import is made from: which ones make up a model, opened once and checked.

A file is opened a single time, and everything afterwards (checks, hashing, copying) goes through
that descriptor, so a name that is exchanged meanwhile changes nothing.  Symbolic links that the
owner named are followed (Hugging Face's cache consists of them); pipes, devices and sockets are
refused unopened.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runnerd.errors import ClientError, InvalidModelFile
from runnerd.models.description import check_role, role
from runnerd.models.gguf import read_open_header
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.given_files import open_untouched, readable
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE, TEMPLATE_TYPE
from runnerd.models.reference import Reference
from runnerd.models.split_files import check_split, with_siblings, without_shard

LONGEST_TEMPLATE = 2**20  # bytes

_QUANTIZATION = re.compile(
    r"(?P<name>.+?)[-._](?P<tag>(?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|fp?16|fp?32|mxfp4\w*|nvfp4))",
    re.IGNORECASE,
)
_GENERIC_NAMES = ("model", "ggml-model", "weights")
_MOST_FOLDER_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """An open file to take in, and what it is for.  `name` is its name without the folder, as
    it was given, `path` where it really is.
    """

    name: str
    descriptor: int
    size: int
    media_type: str
    path: Path
    header: GGUFHeader | None = None


@dataclass(slots=True)
class Sources:
    """The files of one model, open until `close()`."""

    weights: tuple[Source, ...] = ()
    mmproj: Source | None = None
    chat_template: Source | None = None
    name: str = "model"
    _open: list[int] = field(default_factory=list)

    @property
    def files(self) -> tuple[Source, ...]:
        """Everything to store: weights in order, then the rest."""
        extra = (self.mmproj, self.chat_template)
        return self.weights + tuple(source for source in extra if source is not None)

    @property
    def headers(self) -> tuple[GGUFHeader, ...]:
        """The headers of the weights."""
        return tuple(source.header for source in self.weights if source.header is not None)

    @property
    def modified_at(self) -> int:
        """When the newest of the weights was written, in unix seconds; never in the future, which
        a file's time may be in.
        """
        newest = max(int(os.fstat(source.descriptor).st_mtime) for source in self.weights)
        return min(max(0, newest), int(time.time()))

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        while self._open:
            os.close(self._open.pop())

    def open_gguf(self, path: Path, media_type: str = GGUF_TYPE) -> Source:
        """Open a GGUF file and check its header."""
        descriptor, size, actual = self._open_file(path)
        header = read_open_header(descriptor, path.name)
        return Source(path.name, descriptor, size, media_type, actual, header)

    def open_template(self, path: Path) -> Source:
        """Open a chat template; it has to be text of at most a megabyte."""
        descriptor, size, actual = self._open_file(path)
        decode_template(os.pread(descriptor, LONGEST_TEMPLATE + 1, 0), path.name)
        return Source(path.name, descriptor, size, TEMPLATE_TYPE, actual)

    def _open_file(self, path: Path) -> tuple[int, int, Path]:
        with readable(path):
            actual = path.resolve(strict=True)
            if not stat.S_ISREG(actual.lstat().st_mode):  # opening some devices does something
                raise InvalidModelFile(f"{path} is not a regular file")
            descriptor = open_untouched(actual)
            self._open.append(descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidModelFile(f"{path} is not a regular file")
            return descriptor, status.st_size, actual


def open_sources(
    paths: Sequence[Path], *, mmproj: Path | None = None, chat_template: Path | None = None
) -> Sources:
    """Open and check the files of the model that `paths` name; the caller closes what is returned.

    `paths` is one GGUF file, any file of a split set (its siblings are found), several files that
    belong together, or one folder that holds a single model.  Raises errors.InvalidModelFile,
    NotFound, Forbidden.
    """
    sources = Sources()
    try:
        _fill(sources, paths, mmproj)
        if chat_template is not None:
            sources.chat_template = sources.open_template(chat_template)
    except BaseException:
        sources.close()
        raise
    return sources


def default_reference(name: str) -> Reference:
    """Return the tag for a file of this name when none was given.

    A quantization at the end of the name becomes the tag: `Llama-3.2-1B-Q4_K_M.gguf` is
    `ai/llama-3.2-1b:q4_k_m`.  Else the tag is `latest`.  What a reference cannot hold becomes `-`.
    """
    stem = without_shard(name)
    tag = "latest"
    if match := _QUANTIZATION.fullmatch(stem):
        stem, tag = match["name"], match["tag"].lower()
    cleaned = re.sub(r"[^a-z0-9_.-]+", "-", stem.lower())
    cleaned = re.sub(r"\.{2,}", ".", cleaned)[:128].strip(".-")
    if re.fullmatch(r"sha256|[0-9a-f]{64}|", cleaned):
        cleaned = f"model-{cleaned}".strip("-")
    return Reference.parse(f"ai/{cleaned}:{tag}")


def decode_template(content: bytes, name: str) -> str:
    """Return a chat template's text.  Raises errors.InvalidModelFile where it is none."""
    if len(content) > LONGEST_TEMPLATE:
        raise InvalidModelFile(
            f"{name} is no chat template: it has more than {LONGEST_TEMPLATE} bytes"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InvalidModelFile(f"{name} is no chat template: it is not UTF-8 text") from error
    if not text.strip() or "\0" in text:
        raise InvalidModelFile(f"{name} is no chat template: it is empty or binary")
    return text


def read_template(path: Path, name: str) -> str:
    """Return a stored chat template's text.  Raises errors.InvalidModelFile where it is none."""
    with open(path, "rb") as file:
        return decode_template(file.read(LONGEST_TEMPLATE + 1), name)


# which files make a model


def _fill(sources: Sources, paths: Sequence[Path], mmproj: Path | None) -> None:
    if not paths:
        raise ClientError("name a GGUF file or a folder to import", param="path")
    with readable(paths[0]):
        folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    found = _ggufs_of(folder) if folder else list(dict.fromkeys(paths))
    opened = {path: sources.open_gguf(path) for path in found}
    projectors = [path for path, source in opened.items() if _role(source) == "mmproj"]
    weights = [path for path in opened if path not in projectors]
    _choose_projector(sources, opened, projectors, mmproj)
    chosen = _choose_weights(weights, folder, projectors)
    for path in chosen:
        if path not in opened:
            opened[path] = sources.open_gguf(path)
    sources.weights = tuple(opened[path] for path in chosen)
    sources.name = _name_of(chosen[0], folder)
    _check_weights(sources)


def _ggufs_of(folder: Path) -> list[Path]:
    with readable(folder):
        names = [entry.name for entry in os.scandir(folder)]
    if len(names) > _MOST_FOLDER_ENTRIES:
        raise InvalidModelFile(f"{folder} holds {len(names)} entries; name the file to import")
    found = [folder / name for name in sorted(names) if name.lower().endswith(".gguf")]
    if not found:
        raise InvalidModelFile(f"{folder} holds no .gguf file")
    return found


def _choose_projector(
    sources: Sources, opened: dict[Path, Source], found: list[Path], named: Path | None
) -> None:
    if named is not None:
        sources.mmproj = sources.open_gguf(named, MMPROJ_TYPE)
        _check(sources.mmproj, "mmproj")
    elif len(found) > 1:
        raise InvalidModelFile(
            f"there are several projectors: {_names(found)}; name one as the mmproj"
        )
    elif found:
        sources.mmproj = replace(opened[found[0]], media_type=MMPROJ_TYPE)


def _choose_weights(found: list[Path], folder: Path | None, projectors: list[Path]) -> list[Path]:
    if not found:
        raise InvalidModelFile(
            f"{_names(projectors)} is a projector; import the model and give it as the mmproj"
        )
    sets = [with_siblings(path) for path in found]
    if any(one != sets[0] for one in sets):
        where = (
            f"{folder} holds several models" if folder else "these files belong to several models"
        )
        raise InvalidModelFile(f"{where}: {_names(found)}; import one at a time")
    return sets[0]


def _check_weights(sources: Sources) -> None:
    _check(sources.weights[0], "model")
    check_split(sources.headers)


def _name_of(path: Path, folder: Path | None) -> str:
    generic = without_shard(path.name).lower() in _GENERIC_NAMES
    return (folder or path.absolute().parent).name if generic else path.name


def _role(source: Source) -> str:
    assert source.header is not None
    return role(source.header)


def _check(source: Source, wanted: str) -> None:
    assert source.header is not None
    check_role(source.header, wanted)


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:5])
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
