"""Images, sounds, and whatever else stands in a request by its address: held against the limits.

An address would be fetched from the GPU host's network, so only data: URLs pass, and no video.  An
image of a few kilobytes can be a gigabyte once the engine has decoded it; what it will take is said
by its first bytes, of every format that engines read.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.body import Body, decode_members
from runnerd.relay.sound_length import seconds_of

_MARK = b'_url"'
_SOUND = b'input_audio"'
_SILENCE = 2**10  # a body that is no longer has no sound of more than some minutes
# No encoder escapes ASCII letters or the underscore; a name written so is hiding from a plain
# search.
_ESCAPED_NAME = re.compile(rb"\\u00[4-7]")
_ESCAPED_SPACE = re.compile(rb"\\[nrt]|\\u00(?:20|0[9aAdD])|\s")
_LEVELS = 8  # engines look for media no deeper: messages, message, content, part, source
_HEAD = 2**18  # characters of base64 within which a JPEG says its size

_START = 256  # characters before that
_LITTLE = 2**16  # bytes that cost nothing to copy
_FIRST = re.compile(rb"\s*(\S)")

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def may_have_media(body: Body) -> bool:
    """Whether a body names an address anywhere, or has a sound; a search for one byte is the
    cheapest.
    """
    if b"_" in body and (_MARK in body or (len(body) > _SILENCE and _SOUND in body)):
        return True
    return b"\\" in body and b"\\u00" in body and _ESCAPED_NAME.search(body) is not None


def check_media(body: Body, limits: Limits) -> None:
    """Refuse addresses, videos, and more or larger images than an engine can hold.

    Raises errors.ClientError and errors.PayloadTooLarge.
    """
    images = pixels = 0
    seconds = 0.0
    for name, said in _addressed(memoryview(body), _LEVELS):
        if name == "input_audio":
            seconds += seconds_of(_decoded(said))
            if seconds > limits.audio_seconds:
                raise PayloadTooLarge(
                    f"the sounds are longer than {limits.audio_seconds:g} s in all", param=name
                )
            continue
        if name != "image_url":
            raise ClientError(
                f"{name} is not supported: media must be sent inline, as images or audio",
                param=name,
            )
        if said[:6].lower() != b'"data:':
            raise ClientError(
                "images must be sent inline as data: URLs; the daemon fetches nothing",
                param="image_url",
            )
        images += 1
        pixels += _pixels(said)
        if images > limits.images:
            raise PayloadTooLarge(f"more than {limits.images} images", param="image_url")
        if pixels > limits.image_pixels:
            raise PayloadTooLarge(
                f"the images have more than {limits.image_pixels} pixels in all", param="image_url"
            )


class _Address(NamedTuple):
    name: str
    said: bytes  # as JSON, with its quotation marks


def _addressed(raw: memoryview, levels: int) -> Iterator[_Address]:
    """Yield what stands in `*_url` members: a text, or an object's `url`, as far as it is looked
    at; and the `data` of sounds.

    What is large is neither copied nor searched at each level.
    """
    if not levels or (len(raw) <= _LITTLE and not may_have_media(bytes(raw))):
        return
    first = _first(raw)
    if first == b"[":
        for entry in _decode_list(raw):
            yield from _addressed(memoryview(entry), levels - 1)
    elif first == b"{":
        for name, value in decode_members(raw).items():
            text = memoryview(value)
            if name.endswith("_url") and (url := _text(text, "url")):
                yield _Address(name, bytes(url[: _HEAD + _START]))
            elif name == "input_audio" and (sound := _text(text, "data")):
                yield _Address(name, bytes(sound))
            elif bytes(text[:1]) in (b"[", b"{"):
                yield from _addressed(text, levels - 1)


def _first(raw: memoryview) -> bytes:
    """The first byte of JSON that is no space."""
    start = _FIRST.match(raw)
    return b"" if start is None else start[1]


def _text(text: memoryview, member: str) -> memoryview:
    """What stands in a text, or in an object's member that is one; empty where there is none."""
    if bytes(text[:1]) == b"{":
        text = memoryview(decode_members(text).get(member, b""))
    return text if bytes(text[:1]) == b'"' else text[:0]


def _decoded(said: bytes) -> bytes:
    """The bytes of a sound in base64, as far as they can be read."""
    text = said.strip(b'"').replace(b"\\/", b"/")
    text = text[text.find(b"base64,", 0, 128) + 7 :] if text.startswith(b"data:") else text
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""


def _pixels(url: bytes) -> int:
    """How many pixels an image in a data: URL says it has; 0 where its format is none of those."""
    start = url.find(b"base64,", 0, 128)
    if start < 0:
        return 0
    text = url[start + 7 : start + 7 + _HEAD].replace(b"\\/", b"/").rstrip(b'"')
    text = _ESCAPED_SPACE.sub(b"", text)
    try:
        head = base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return 0
    width, height = _size(head)
    return width * height


def _size(head: bytes) -> tuple[int, int]:
    try:
        for start, (offset, form) in _PLACES.items():
            if head.startswith(start):
                width, height = struct.unpack_from(form, head, offset)
                return abs(width), abs(height)
        if head.startswith(b"\xff\xd8"):
            return _jpeg_size(head)
        if head.startswith(_UNSUPPORTED):
            raise ClientError("images must be PNG, JPEG, GIF, BMP or WebP", param="image_url")
        if _is_tga(head):
            return struct.unpack_from("<HH", head, 12)
    except struct.error:  # the engine will say that it is cut
        pass
    return 0, 0


_PLACES = {
    b"\x89PNG\r\n\x1a\n": (16, ">II"),
    b"GIF8": (6, "<HH"),
    b"BM": (18, "<ii"),
}
_UNSUPPORTED = (b"8BPS", b"#?RADIANCE", b"#?RGBE", b"P5", b"P6", b"\x53\x80\xf6\x34")


def _jpeg_size(head: bytes) -> tuple[int, int]:
    """What a JPEG's frame says, behind segments such as thumbnails.  Raises struct.error."""
    at = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", head, at)
        if mark != 0xFF or kind == 0xFF:
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + (length if kind not in _BARE else 0)


_BARE = (0x01, *range(0xD0, 0xDA))  # marks without a length


def _is_tga(head: bytes) -> bool:
    """Whether what has no mark of its own may be one: by the values of its first bytes."""
    return len(head) >= 18 and head[1] in (0, 1) and head[2] in (1, 2, 3, 9, 10, 11)
