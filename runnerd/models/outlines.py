"""Models that are elsewhere, by their headers: enough to tell what they would need here.

An *outline* is files with a model's headers and nothing behind them, as long as the model's own: a
file system keeps no space for what was never written.  A backend takes them for a model; they are
gone when whoever has asked has been told.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from runnerd.backends.model_files import ModelFiles, ModelResolver
from runnerd.errors import InvalidModelFile
from runnerd.models.description import facts
from runnerd.models.gguf import read_header
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.multimodal import senses


class Outlines:
    """Says where the files of models are: of those that are here, and of outlines by their ids."""

    def __init__(self, store: ModelResolver, folder: Path) -> None:
        """`folder` is for outlines; what an earlier daemon left there is removed.  Blocks."""
        self._store = store
        self._folder = folder
        self._known: dict[str, ModelFiles] = {}
        shutil.rmtree(folder, ignore_errors=True)

    def resolve(self, model: str) -> ModelFiles:
        """The files of a model, or of an outline.  Raises as the store does."""
        found = self._known.get(model)
        return self._store.resolve(model) if found is None else found

    def make_folder(self) -> Path:
        """A new folder for the files of an outline; `remove` it.  Blocks.  Raises OSError."""
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def remove(self, folder: Path) -> None:
        """Remove an outline's files.  Blocks."""
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def known(self, id: str, files: ModelFiles) -> Iterator[None]:
        """Have `resolve` say these files for this id for the length of a block."""
        self._known[id] = files
        try:
            yield
        finally:
            del self._known[id]


def write_outline(path: Path, start: bytes, size: int) -> GGUFHeader | None:
    """Write a file that begins with `start` and is `size` long; return its header, None where that
    needs more of the file.

    Blocks.  Raises errors.InvalidModelFile, OSError.
    """
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(max(size, len(start)))
    if len(start) >= size:
        return read_header(path)
    try:
        header = read_header(path)
    except InvalidModelFile:
        if start[:4] != b"GGUF":
            raise
        return None  # it ends in the middle, so whatever it seems to say is not so
    return header if header.header_bytes <= len(start) else None


def outlined(
    headers: Sequence[GGUFHeader], weights: Sequence[Path], mmproj: Path | None
) -> ModelFiles:
    """The files of an outline, as a store would say them.  Blocks."""
    return ModelFiles(
        weights[0],
        sum(os.stat(path).st_size for path in weights),
        mmproj,
        facts=facts(headers[0]),
        senses=() if mmproj is None else senses(read_header(mmproj)),
    )
