"""What is written down about a part: which of its pieces are on the disk.

A journal is a hint: it comes from a disk that may be broken, or from another version of runnerd, so
one that cannot be about this file is not followed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runnerd.regular import read_json

PIECE_BYTES = 16 * 2**20

_JOURNAL_LIMIT = 64 * 2**20
_LARGEST = 2**44  # 16 TiB, the largest file of ext4; a journal that names more is none of ours


class Journal(msgspec.Struct):
    """The journal of a part, as it lies on the disk beside it."""

    size: int
    validator: str
    piece_bytes: int
    filled: dict[int, int]  # bytes of each piece that has any


@dataclass(slots=True)
class Piece:
    """A stretch of the file; `at` is how far it is filled."""

    number: int
    start: int
    end: int
    at: int

    @property
    def left(self) -> int:
        """The bytes that lack."""
        return self.end - self.at


def cut_into_pieces(size: int) -> list[Piece]:
    """The pieces of a file of so many bytes, all of them empty."""
    starts = range(0, size, PIECE_BYTES)
    return [
        Piece(number, start, min(start + PIECE_BYTES, size), start)
        for number, start in enumerate(starts)
    ]


def read_journal(path: Path, part: int, size: int | None) -> Journal | None:
    """The journal of an open part, None where it does not fit that file, or `size` if known."""
    try:
        journal = read_json(path, Journal, most=_JOURNAL_LIMIT)
    except OSError:
        return None
    if not 0 <= journal.size <= _LARGEST or size not in (None, journal.size):
        return None
    if journal.piece_bytes != PIECE_BYTES:
        return None
    reach = 0
    for number, count in journal.filled.items():
        start = number * PIECE_BYTES
        if number < 0 or not 0 < count <= min(PIECE_BYTES, journal.size - start):
            return None
        reach = max(reach, start + count)
    # A shorter file is not the one that the journal is about.
    return journal if os.fstat(part).st_size >= reach else None
