"""What the first bytes of a GGUF file say, where the rest of it is still elsewhere.

Writers put `general.*` first, so a few kilobytes tell a model from an adapter, a projector or an
importance matrix.  Whatever cannot be read is left out: nothing is decided by it but what to
fetch, and what was fetched is held against the whole header (`gguf`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

START_BYTES = 2**16

_PREAMBLE = struct.Struct("<4sIQQ")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GGUFStart:
    """The number of tensors, and the texts of `general.type` and `general.architecture`."""

    tensors: int
    type: str = ""
    architecture: str = ""


def read_start(data: bytes) -> GGUFStart | None:
    """Read the beginning of a file; None for what is no GGUF."""
    if len(data) < _PREAMBLE.size:
        return None
    magic, version, tensors, keys = _PREAMBLE.unpack_from(data)
    if magic != b"GGUF" or not 2 <= version <= 255:
        return None
    texts: dict[str, str] = {}
    try:
        for name, text in _texts(data, min(keys, 2**14)):
            texts[name] = text
    except (struct.error, KeyError):
        pass  # the bytes end here, or mean nothing
    return GGUFStart(tensors, texts.get("general.type", ""), texts.get("general.architecture", ""))


def _texts(data: bytes, keys: int) -> Iterator[tuple[str, str]]:
    """Every key with a string."""
    at = _PREAMBLE.size
    for _ in range(keys):
        name, at = _string(data, at)
        (kind,) = _U32.unpack_from(data, at)
        at += 4
        if kind == _STRING:
            text, at = _string(data, at)
            yield name, text
        elif kind == _ARRAY:
            (element,) = _U32.unpack_from(data, at)
            (count,) = _U64.unpack_from(data, at + 4)
            at += 12
            if element not in _SCALAR_BYTES:
                for _ in range(count):
                    _, at = _string(data, at)
            else:
                at += count * _SCALAR_BYTES[element]
        else:
            at += _SCALAR_BYTES[kind]


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _U64.unpack_from(data, at)
    end = at + 8 + length
    if end > len(data):
        raise struct.error
    return data[at + 8 : end].decode(errors="replace"), end
