"""A blob that comes in pieces: as many bytes as announced, hashed, read-only at its end."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models.blob_writer import BLOB_MODE, BlobWriter
from runnerd.models.digest import Digest


def test_pieces_become_a_blob(tmp_path: Path) -> None:
    """The digest is that of all pieces; nobody may write to the file afterwards."""
    writer = BlobWriter(tmp_path / "blob", "m.gguf", 6)
    for piece in (b"ab", b"", memoryview(b"cdef")):
        writer.write(piece)
    pending = writer.finish()
    assert (pending.digest, pending.size) == (Digest.of(b"abcdef"), 6)
    assert pending.temporary.read_bytes() == b"abcdef"
    assert stat.S_IMODE(pending.temporary.stat().st_mode) == BLOB_MODE


def test_too_much(tmp_path: Path) -> None:
    """More than was announced is refused before it is written."""
    with closing(BlobWriter(tmp_path / "blob", "m.gguf", 3)) as writer:
        writer.write(b"abc")
        with pytest.raises(InvalidModelFile, match="more bytes than the 3 announced"):
            writer.write(b"d")
    assert (tmp_path / "blob").read_bytes() == b"abc"


def test_too_little(tmp_path: Path) -> None:
    """A blob that ended early is none."""
    with closing(BlobWriter(tmp_path / "blob", "m.gguf", 3)) as writer:
        writer.write(b"ab")
        with pytest.raises(InvalidModelFile, match="ended after 2 of 3 bytes"):
            writer.finish()
