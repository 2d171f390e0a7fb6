"""An image and a sound of any size, as clients send them in chats."""

from __future__ import annotations

import base64
import io
import random
import struct
import wave
import zlib

_RATE = 16000  # samples per second


def image(wide: int, high: int, seed: int) -> dict[str, object]:
    """Return a part of a message: an image of so many pixels."""
    row = b"\0" + random.Random(seed).randbytes(wide * 3)
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head)
    png += _chunk(b"IDAT", zlib.compress(row * high, 1)) + _chunk(b"IEND", b"")
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + _text(png)}}


def sound(seconds: int, seed: int) -> dict[str, object]:
    """Return a part of a message: noise that lasts so long."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(random.Random(seed).randbytes(2 * _RATE * seconds))
    data = {"data": _text(written.getvalue()), "format": "wav"}
    return {"type": "input_audio", "input_audio": data}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
