"""An image and a sound of any size, as clients send them in chats."""

from __future__ import annotations

import base64
import random

from tests.support.media import png, wav

_RATE = 16000  # samples per second


def image(wide: int, high: int, seed: int) -> dict[str, object]:
    """Return a part of a message: an image of so many pixels."""
    address = "data:image/png;base64," + _text(png(wide, high, _noise(seed, 3 * wide)))
    return {"type": "image_url", "image_url": {"url": address}}


def sound(seconds: int, seed: int) -> dict[str, object]:
    """Return a part of a message: noise that lasts so long."""
    data = wav(_noise(seed, 2 * _RATE * seconds), rate=_RATE, width=2)
    return {"type": "input_audio", "input_audio": {"data": _text(data), "format": "wav"}}


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
