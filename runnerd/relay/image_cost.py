"""What an engine's decoder comes to with an image: how much memory it takes, and for how long.

It decodes what an image says it is, in the engine's memory and beside its working thread.  So the
first bytes say what that takes, of every format that engines read.  Where they need not tell the
truth the rest is looked at, too: a PNG whose data inflate to gigabytes beyond its size, a JPEG that
goes over its pixels thousands of times.  What is cut or damaged is the engine's to refuse.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib

from runnerd.errors import ClientError

_ESCAPED_SPACE = re.compile(rb"\\[nrt]|\\u00(?:20|0[9aAdD])")
_LONGEST_ESCAPE = 6
_PIECE = 2**18  # characters that are decoded in one call, which other threads wait for
_START = 128  # characters within which a data: URL begins with its image
_PLAIN = bytes.maketrans(b"-_", b"+/")  # engines read both alphabets
_SPACES = b" \t\r\n\v\f"

_SCANS = 256  # of one JPEG; honest ones have a dozen
_UNCHECKED = 2**18  # bytes of a PNG that inflate to no more than what other images may take
_SLACK = 2**20
_DEEP = 3  # as much as of others do the pixels of an image take that has 16 bits of each colour
_PROGRESSIVE = 2  # and of a JPEG that is kept as coefficients, too


def image_cost(url: memoryview, *, bare: bool = False) -> int:
    """How many pixels' memory an image in a data: URL takes; 0 where it is none that engines read.
    `bare`: in base64 alone.  Both as JSON, with its quotation marks.

    Raises errors.ClientError for one that takes more than it says, and for formats that nobody
    sends.
    """
    image = _binary(url, 1 if bare else _start(url))
    try:
        if image.startswith(_PNG):
            return _png(image)
        if image.startswith(b"\xff\xd8"):
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


def _start(url: memoryview) -> int:
    """Where the base64 of a data: URL begins; at its end where it has none."""
    mark = b"base64,"
    at = bytes(url[:_START]).find(mark)
    return len(url) if at < 0 else at + len(mark)


def _binary(url: memoryview, start: int) -> bytes:
    """The bytes that stand in base64 from a place on, as far as they can be read."""
    found, left = [], b""
    for at in range(start, len(url), _PIECE):
        piece = left + bytes(url[at : at + _PIECE])
        piece, left = _without_escapes(piece, more=at + _PIECE < len(url))
        piece = piece.rstrip(b'"').translate(_PLAIN, _SPACES)
        whole = len(piece) // 4 * 4
        left = piece[whole:] + left
        try:
            found.append(base64.b64decode(piece[:whole]))
        except binascii.Error:
            break
    return b"".join(found)


def _without_escapes(piece: bytes, *, more: bool) -> tuple[bytes, bytes]:
    """A piece of a JSON string without escapes, and one that begins at its end."""
    last = piece.rfind(b"\\")
    if last < 0:
        return piece, b""
    cut = last if more and last > len(piece) - _LONGEST_ESCAPE else len(piece)
    return _ESCAPED_SPACE.sub(b"", piece[:cut].replace(b"\\/", b"/")), piece[cut:]


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
    at = len(_PNG)
    length, kind = struct.unpack_from(">I4s", image, at)
    if kind == b"CgBI":  # Apple's, in front of what it says of itself
        at += 12 + length
    width, height, bits, colours = struct.unpack_from(">IIBB", image, at + 8)
    if len(image) > _UNCHECKED:
        row = (width * bits * _CHANNELS.get(colours, 4) + 7) // 8
        _check_data(image, height * (row + 8) + _SLACK)
    return int(width * height * (_DEEP if bits > 8 else 1))


def _check_data(image: bytes, most: int) -> None:
    """Refuse a PNG whose data inflate to more than so many bytes."""
    left, begun, at = most, False, len(_PNG)
    plain = image[12:16] == b"CgBI"  # without a header
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    while at + 8 <= len(image) and not inflate.eof:
        length, kind = struct.unpack_from(">I4s", image, at)
        if kind == b"IDAT":
            data = image[at + 8 : at + 8 + length]
            if not (begun or plain):
                data = data[2:]
            begun = True
            left = _inflated(inflate, data, left)
        at += 12 + length


def _inflated(inflate: zlib._Decompress, data: bytes, left: int) -> int:
    """How many bytes of so many are left behind some data.  Raises errors.ClientError."""
    while data and not inflate.eof:
        try:
            left -= len(inflate.decompress(data, _SLACK))
        except zlib.error:
            return left
        if left < 0:
            raise ClientError("a PNG image holds more than its size says", param="image_url")
        data = inflate.unconsumed_tail
    return left


def _jpeg(image: bytes) -> int:
    """The pixels of a JPEG by its frame, behind segments such as thumbnails.  Raises
    struct.error.
    """
    at = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", image, at)
        if mark != 0xFF or kind == 0xFF:
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            break
        else:
            at += 2 + (length if kind not in _BARE else 0)
    height, width = struct.unpack_from(">HH", image, at + 5)
    if image.count(b"\xff\xda", at) > _SCANS:
        raise ClientError(f"a JPEG image has more than {_SCANS} scans", param="image_url")
    return int(width * height * (_PROGRESSIVE if kind in _COEFFICIENTS else 1))


_BARE = (0x01, *range(0xD0, 0xDA))  # marks without a length
_COEFFICIENTS = (0xC2, 0xC6, 0xCA, 0xCE)
