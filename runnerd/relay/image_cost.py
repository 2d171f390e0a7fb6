"""What it costs an engine to decode an image: memory, and time.

It decodes what an image says it is, in the engine's memory and beside its working thread.  So the
first bytes say what that takes, of every format that engines read.  Where they need not tell the
truth the rest is looked at, too: a PNG whose data inflate to gigabytes beyond its size, a JPEG that
goes over its pixels thousands of times.  What is cut is the engine's to refuse.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from runnerd.errors import ClientError

_SCANS = 256  # of one JPEG; honest ones have a dozen
_SEGMENTS = 4096  # before its frame; honest ones have some hundreds at most
_UNCHECKED = 2**18  # bytes of a PNG that inflate to no more than what other images may take
_SLACK = 2**20
_DEEP = 3  # as much as of others do the pixels of an image take that has 16 bits of each colour
_PROGRESSIVE = 2  # and of a JPEG that is kept as coefficients, too


def image_cost(image: bytes) -> int:
    """How many pixels' memory an image takes; 0 where it is none that engines read.

    Raises errors.ClientError for one that takes more than it says, and for formats that nobody
    sends.
    """
    try:
        if image.startswith(_PNG):
            return _png(image)
        if _JPEG.match(image) is not None:
            return _jpeg(image)
        if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
            return webp_pixels(image)
        width, height = _size(image)
    except struct.error:  # the engine will say that it is cut
        return 0
    return abs(width * height)


def webp_pixels(head: bytes) -> int:
    """How many pixels a WebP says it has, in any of its three forms.  Raises struct.error."""
    kind = head[12:16]
    if kind == b"VP8X":
        low, mixed, high = struct.unpack_from("<HHH", head, 24)
        return int((low + ((mixed & 0xFF) << 16) + 1) * ((mixed >> 8) + (high << 8) + 1))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return int(((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1))
    width, height = struct.unpack_from("<HH", head, 26)
    return int((width & 0x3FFF) * (height & 0x3FFF))


def _size(head: bytes) -> tuple[int, int]:
    if head.startswith(b"GIF8"):
        return struct.unpack_from("<HH", head, 6)
    if head.startswith(b"BM"):
        old = struct.unpack_from("<I", head, 14) == (12,)
        return struct.unpack_from("<HH" if old else "<ii", head, 18)
    if head.startswith(_UNSUPPORTED):
        raise ClientError("images must be PNG, JPEG, GIF, BMP or WebP", param="image_url")
    if len(head) >= 18 and head[1] in (0, 1) and head[2] in (1, 2, 3, 9, 10, 11):
        return struct.unpack_from("<HH", head, 12)  # TGA, which has no mark of its own
    return 0, 0


_UNSUPPORTED = (b"8BPS", b"#?RADIANCE", b"#?RGBE", b"P5", b"P6", b"\x53\x80\xf6\x34")
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of its colours


def _png(image: bytes) -> int:
    """The pixels of a PNG, once its data are known to be no more.  Raises struct.error."""
    # Apple's chunk stands in front of what it says of itself.
    start = next((start for kind, start, _ in _chunks(image) if kind != b"CgBI"), len(image))
    width, height, bits, colours = struct.unpack_from(">IIBB", image, start)
    if len(image) > _UNCHECKED:
        row = (width * bits * _CHANNELS.get(colours, 4) + 7) // 8
        _check_data(image, height * (row + 8) + _SLACK)
    return int(width * height * (_DEEP if bits > 8 else 1))


def _chunks(image: bytes) -> Iterator[tuple[bytes, int, int]]:
    """What each chunk of a PNG is called, where its data begin, and how long they say they are."""
    at = len(_PNG)
    while at + 8 <= len(image):
        length, kind = struct.unpack_from(">I4s", image, at)
        yield kind, at + 8, length
        at += 12 + length


def _check_data(image: bytes, most: int) -> None:
    """Refuse a PNG whose data inflate to more than so many bytes, or not at all."""
    left, header = most, 2  # the data's own header, of two bytes
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    if b"CgBI" in image:
        header = 0 if _is_apples(image) else header
    for kind, start, length in _chunks(image):
        if inflate.eof:
            break
        if kind == b"IDAT":
            data = image[start + min(header, length) : start + length]
            header -= min(header, length)
            left = _inflated(inflate, data, left)


def _is_apples(image: bytes) -> bool:
    """Whether a PNG's data have no header, which any of its chunks may say."""
    kinds = (kind for kind, _, _ in _chunks(image))
    return next((kind for kind in kinds if kind in (b"CgBI", b"IEND")), None) == b"CgBI"


def _inflated(inflate: zlib._Decompress, data: bytes, left: int) -> int:
    """How many bytes of so many are left behind some data.  Raises errors.ClientError."""
    while data and not inflate.eof:
        try:
            left -= len(inflate.decompress(data, _SLACK))
        except zlib.error as error:  # an engine may be less strict, and read on
            raise ClientError("a PNG image is damaged", param="image_url") from error
        if left < 0:
            raise ClientError("a PNG image holds more than its size says", param="image_url")
        data = inflate.unconsumed_tail
    return left


def _jpeg(image: bytes) -> int:
    """The pixels of a JPEG by its frame, behind segments such as thumbnails.  Raises
    struct.error.
    """
    at = 2
    for _ in range(_SEGMENTS):
        found = _MARK.search(image, at)
        if found is None:
            return 0  # cut before its frame
        at, kind = found.end() - 2, found[1][0]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            break
        at += 2
        if kind not in _BARE:
            at += struct.unpack_from(">H", image, at)[0]
    else:
        raise ClientError(f"a JPEG image has more than {_SEGMENTS} segments", param="image_url")
    height, width = struct.unpack_from(">HH", image, at + 5)
    if image.count(b"\xff\xda", at) > _SCANS:
        raise ClientError(f"a JPEG image has more than {_SCANS} scans", param="image_url")
    return int(width * height * (_PROGRESSIVE if kind in _COEFFICIENTS else 1))


_JPEG = re.compile(rb"\xff+\xd8")
_MARK = re.compile(rb"\xff([^\xff])", re.DOTALL)
_BARE = (0x01, *range(0xD0, 0xDA))  # marks without a length
_COEFFICIENTS = (0xC2, 0xC6, 0xCA, 0xCE)
