"""Images in the one form in which llama-server reads them: `{"url": "data:image/png;base64,..."}`.

Clients send the address alone, a data URL without a type or with more than one, and base64 in lines
of 76 characters.  Only requests with an image are looked at.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.parsed_request import ParsedRequest

_MEMBERS = ("messages", "input")
_SPACE = re.compile(r"\s")
_SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f"  # those of ASCII
_PIECE = 2**18  # characters that are looked at in one call, which other threads wait for
_TYPE = "image/png"  # the engine looks at the bytes
_LONGEST_HEAD = 256


def with_plain_images(request: ParsedRequest) -> ParsedRequest:
    """A request with images as the engine reads them; what needs no change stays as it came.

    Raises errors.ClientError for an image that has no address.
    """
    if b"image_url" not in request.body:
        return request
    changed: dict[str, Any] = {}
    for name in _MEMBERS:
        turns = request.document.get(name)
        if isinstance(turns, list):
            told = [_turn(turn) for turn in turns]
            if any(one is not two for one, two in zip(told, turns, strict=True)):
                changed[name] = msgspec.Raw(msgspec.json.encode(told))
    if not changed:
        return request
    fields = {name: raw for name, raw in changed.items() if hasattr(request.fields, name)}
    return request.replaced({**request.members, **changed}, **fields)


def plain_base64(text: str) -> str:
    """Base64 without line breaks and spaces."""
    if not _has_spaces(text, 0):
        return text
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return "".join(["".join(piece.split()) for piece in pieces])


def _has_spaces(text: str, start: int) -> bool:
    if text.isascii():
        return any(text.find(space, start) >= 0 for space in _SPACES)
    size = len(text)
    return any(_SPACE.search(text, at, at + _PIECE) for at in range(start, size, _PIECE))


def plain_url(url: str) -> str:
    """A data URL of an image, with a type and one line; anything else stays."""
    head, comma, _ = url[:_LONGEST_HEAD].partition(",")
    if not comma or not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
        return url
    kind = head[len("data:") :].partition(";")[0].strip().lower()
    if not kind.startswith("image/"):
        kind = _TYPE
    start = f"data:{kind};base64,"
    if url.startswith(start) and not _has_spaces(url, len(start)):
        return url
    return start + plain_base64(url[len(head) + 1 :])


def _turn(turn: Any) -> Any:
    """A message or an item with its parts; the same object where nothing changes."""
    if not isinstance(turn, dict):
        return turn
    for name in ("content", "output"):
        parts = turn.get(name)
        if isinstance(parts, list):
            told = [_part(part) for part in parts]
            if any(one is not two for one, two in zip(told, parts, strict=True)):
                turn = {**turn, name: told}
    return turn


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("image_url", "input_image") or (kind == "input_image" and "file_id" in part):
        return part
    image = part.get("image_url")
    said = image.get("url") if isinstance(image, dict) else image
    if not isinstance(said, str):
        raise ClientError(
            "a part with an image needs its image_url: a data: URL with the image in base64",
            param="image_url",
        )
    url = plain_url(said)
    if kind == "input_image":
        return part if url == image else {**part, "image_url": url}
    if isinstance(image, dict):
        return part if url == said else {**part, "image_url": {**image, "url": url}}
    return {**part, "image_url": {"url": url}}
