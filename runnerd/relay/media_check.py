"""Images, sounds, and whatever else stands in a request by its address: held against the limits.

An address would be fetched from the GPU host's network, so only data: URLs pass, and no video.  An
image of a few kilobytes can be a gigabyte once the engine has decoded it (`image_cost`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.body import Body, decode_members
from runnerd.relay.image_cost import image_cost
from runnerd.relay.inline_content import inline_content, without_escapes
from runnerd.relay.sound_length import seconds_of

_MARK = b'_url"'
_INPUTS = (b'input_audio"', b'input_video"', b'multimodal_data"')
_SOURCE = b'"base64"'  # how Anthropic's images say what they are
# No encoder escapes ASCII letters or the underscore; a name written so is hiding from a plain
# search.
_ESCAPED_NAME = re.compile(rb"\\u00[4-7]")
_LEVELS = 8  # engines look for media no deeper: messages, message, content, part, source
_SCHEME = 16  # characters within which an address says what it is
_KNOWN = ("image_url", "source", "input_audio", "multimodal_data")
_LITTLE = 2**16  # bytes that cost nothing to copy
_FIRST = re.compile(rb"\s*(\S)")

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def may_have_media(body: Body) -> bool:
    """Whether a body names an address anywhere, or has media without one; a search for one byte is
    the cheapest.
    """
    if b"_" in body and (_MARK in body or any(name in body for name in _INPUTS)):
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
        if name not in _KNOWN:
            raise ClientError(
                f"{name} is not supported: media must be sent inline, as images or audio",
                param=name,
            )
        is_url = bytes(said[:6]).lower() == b'"data:'
        if name == "image_url" and not is_url:
            raise ClientError(
                "images must be sent inline as data: URLs; the daemon fetches nothing",
                param="image_url",
            )
        if name == "input_audio" and not is_url and _is_address(said):
            raise ClientError(
                "audio must be sent inline, in base64; the daemon fetches nothing", param=name
            )
        content = inline_content(said, bare=not is_url)
        cost = image_cost(content)  # engines tell by it what it is, whatever it is called
        pixels += cost
        if name == "input_audio" or (name == "multimodal_data" and not cost):
            seconds += seconds_of(content)
            if seconds > limits.audio_seconds:
                raise PayloadTooLarge(
                    f"the sounds are longer than {limits.audio_seconds:g} s in all", param=name
                )
        images += name != "input_audio"
        if images > limits.images:
            raise PayloadTooLarge(f"more than {limits.images} images", param="image_url")
        if pixels > limits.image_pixels:
            raise PayloadTooLarge(
                f"the images have more than {limits.image_pixels} pixels in all", param="image_url"
            )


def _is_address(said: memoryview) -> bool:
    """Whether an engine would fetch it: in base64 there is no colon."""
    return b":" in bytes(without_escapes(said)[:_SCHEME])


class _Address(NamedTuple):
    name: str
    said: memoryview  # as JSON, with its quotation marks


def _addressed(raw: memoryview, levels: int) -> Iterator[_Address]:
    """Yield what stands in `*_url` members: a text, or an object's `url`, as far as it is looked
    at; the `data` of sounds and of Anthropic's images; and what stands beside a text to complete.

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
            found = _media(name, text)
            for said in found:
                yield _Address(name, said)
            if not found and bytes(text[:1]) in (b"[", b"{"):
                yield from _addressed(text, levels - 1)


def _media(name: str, text: memoryview) -> list[memoryview]:
    """The media that a member of this name is."""
    if name.endswith("_url"):
        found = [_text(text, "url")]
    elif name == "source":
        found = [_of_source(text)]
    elif name in ("input_audio", "input_video"):
        found = [_text(text, "data") or _text(text, "url")]
    elif name == "multimodal_data" and bytes(text[:1]) == b"[":
        found = [_text(memoryview(each), "data") for each in _decode_list(text)]
    else:
        found = []
    return [said for said in found if said]


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
