"""Journals of parts: followed only where they can be about this file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runnerd.models.part_journal import PIECE_BYTES, Journal, cut_into_pieces, read_journal

SIZE = 2 * PIECE_BYTES + 5


def read(
    tmp_path: Path, length: int = SIZE, size: int | None = None, **changes: Any
) -> Journal | None:
    """Read a journal beside a part of this length."""
    document = {"size": SIZE, "validator": "", "piece_bytes": PIECE_BYTES,
                "filled": {"0": PIECE_BYTES, "2": 5}} | changes  # fmt: skip
    (tmp_path / "journal").write_text(json.dumps(document))
    part = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    try:
        os.truncate(part, length)
        return read_journal(tmp_path / "journal", part, size)
    finally:
        os.close(part)


def test_what_fits_is_followed(tmp_path: Path) -> None:
    """With the bytes of each piece."""
    journal = read(tmp_path, size=SIZE)
    assert journal is not None
    assert journal.filled == {0: PIECE_BYTES, 2: 5}


@pytest.mark.parametrize(
    "wrong",
    [{"length": SIZE - 1}, {"size": SIZE + 1}, {"piece_bytes": PIECE_BYTES * 2},
     {"filled": {"-1": 1}}, {"filled": {"0": 0}}, {"filled": {"0": PIECE_BYTES + 1}},
     {"filled": {"2": 6}}, {"filled": {"3": 1}}, {"filled": []}, {"filled": {"x": 1}},
     {"validator": None}],
)  # fmt: skip
def test_what_is_about_another_file_is_not(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A shorter part, another size, other pieces, or more in a piece than it has."""
    assert read(tmp_path, **wrong) is None


@pytest.mark.parametrize("said", [-1, 2**44 + 1])
def test_sizes_that_no_file_has(tmp_path: Path, said: int) -> None:
    """Whatever the disk says."""
    (tmp_path / "journal").write_text(
        json.dumps({"size": said, "validator": "", "piece_bytes": PIECE_BYTES, "filled": {}})
    )
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_journal(tmp_path / "journal", descriptor, None) is None
        assert read_journal(tmp_path / "absent", descriptor, None) is None
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, SIZE])
def test_pieces_cover_the_file(size: int) -> None:
    """Each byte once, in order, none of them filled."""
    pieces = cut_into_pieces(size)
    assert sum(piece.left for piece in pieces) == size
    at = 0
    for number, piece in enumerate(pieces):
        assert (piece.number, piece.start) == (number, at)
        at = piece.end
    assert at == size
