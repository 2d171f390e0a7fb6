"""Images and sounds, as files."""

from __future__ import annotations

import io
import struct
import wave
import zlib


def png(wide: int, high: int, row: bytes) -> bytes:
    """Return a picture whose rows of pixels, three bytes each, are all the same."""
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * high, 1)
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def wav(samples: bytes, *, rate: int, width: int) -> bytes:
    """Return a sound of one channel: `rate` samples a second, of `width` bytes each."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return written.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
