"""Images, sounds, and whatever else stands in a request by its address: held against the limits.

An address would be fetched from the GPU host's network, so only data: URLs pass, and no video.  An
image of a few kilobytes can be a gigabyte once the engine has decoded it (`image_cost`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.body import Body, decode_members
from runnerd.relay.image_cost import image_cost
from runnerd.relay.sound_length import seconds_of

_MARK = b'_url"'
_SOUND = b'input_audio"'
_SOURCE = b'"base64"'  # how Anthropic's images say what they are
_SILENCE = 2**10  # a body that is no longer has no sound of more than some minutes
# No encoder escapes ASCII letters or the underscore; a name written so is hiding from a plain
# search.
_ESCAPED_NAME = re.compile(rb"\\u00[4-7]")
_LEVELS = 8  # engines look for media no deeper: messages, message, content, part, source
_LITTLE = 2**16  # bytes that cost nothing to copy
_FIRST = re.compile(rb"\s*(\S)")

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def may_have_media(body: Body) -> bool:
    """Whether a body names an address anywhere, or has a sound; a search for one byte is the
    cheapest.
    """
    if b"_" in body and (_MARK in body or (len(body) > _SILENCE and _SOUND in body)):
        return True
    if _SOURCE in body:
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
            seconds += seconds_of(_decoded(bytes(said)))
            if seconds > limits.audio_seconds:
                raise PayloadTooLarge(
                    f"the sounds are longer than {limits.audio_seconds:g} s in all", param=name
                )
            continue
        if name not in ("image_url", "source"):
            raise ClientError(
                f"{name} is not supported: media must be sent inline, as images or audio",
                param=name,
            )
        if name == "image_url" and bytes(said[:6]).lower() != b'"data:':
            raise ClientError(
                "images must be sent inline as data: URLs; the daemon fetches nothing",
                param="image_url",
            )
        images += 1
        pixels += image_cost(said, bare=name == "source")
        if images > limits.images:
            raise PayloadTooLarge(f"more than {limits.images} images", param="image_url")
        if pixels > limits.image_pixels:
            raise PayloadTooLarge(
                f"the images have more than {limits.image_pixels} pixels in all", param="image_url"
            )


class _Address(NamedTuple):
    name: str
    said: memoryview  # as JSON, with its quotation marks


def _addressed(raw: memoryview, levels: int) -> Iterator[_Address]:
    """Yield what stands in `*_url` members: a text, or an object's `url`, as far as it is looked
    at; and the `data` of sounds and of Anthropic's images.

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
                yield _Address(name, url)
            elif name == "source" and (image := _of_source(text)):
                yield _Address(name, image)
            elif name == "input_audio" and (sound := _text(text, "data")):
                yield _Address(name, sound)
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


def _of_source(text: memoryview) -> memoryview:
    """The data of one of Anthropic's images; empty where there are none, or they are a text."""
    if bytes(text[:1]) != b"{" or bytes(_text(text, "type")) == b'"text"':
        return text[:0]
    return _text(text, "data")


def _decoded(said: bytes) -> bytes:
    """The bytes of a sound in base64, as far as they can be read."""
    text = said.strip(b'"').replace(b"\\/", b"/")
    text = text[text.find(b"base64,", 0, 128) + 7 :] if text.startswith(b"data:") else text
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""
