"""Images that take more than they say, or say more than they are."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(wide: int, high: int, data: bytes, *, apple: bool = False) -> bytes:
    """A PNG of three bytes a pixel that says its size, and has these data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0))
    first = chunk(b"CgBI", b"\0\1\0\1") if apple else b""
    return PNG + first + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_bomb(size: int, *, apple: bool = False) -> bytes:
    """A PNG of 8 by 8 pixels whose data inflate to so many bytes, which are a multiple of 1 MiB."""
    # What a full flush ends refers to nothing before it, so each MiB is the same bytes again.
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    mebibyte = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = mebibyte * (size // 2**20) + deflate.flush()
    if not apple:
        # The checksum of zeros: a first sum that stays 1, and a second one that has counted them.
        data = b"\x78\xda" + data + struct.pack(">HH", size % 65521, 1)
    return png_of(8, 8, data, apple=apple)


def scans(wide: int, high: int, times: int) -> bytes:
    """A grey JPEG that goes over all its pixels as often as that, and has no data for it."""

    def segment(kind: int, data: bytes) -> bytes:
        return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data

    tables = segment(0xDB, b"\0" + b"\1" * 64)
    tables += segment(0xC0, struct.pack(">BHHB", 8, high, wide, 1) + b"\1\x11\0")
    for kind in (0x00, 0x10):
        tables += segment(0xC4, bytes([kind, 0, 2, *[0] * 14]) + b"\0\1")
    scan = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0\0"
    return b"\xff\xd8" + tables + scan * times + b"\xff\xd9"


def webp_canvas(wide: int, high: int, frames: int = 1) -> bytes:
    """An animated WebP of a hundred bytes, whose pictures of 8 by 8 lie on a large canvas."""

    def small(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 200)).save(file, "WEBP", lossless=True)
    data = small(0) * 2 + small(7) * 2 + small(10) + b"\0" + file.getvalue()[12:]
    frame = b"ANMF" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    head = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + small(wide - 1) + small(high - 1)
    body = b"WEBP" + head + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body
