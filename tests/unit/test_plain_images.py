"""request_rewrites.plain_images: images in the form in which engines read them."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from runnerd.errors import ClientError
from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites import plain_images
from runnerd.relay.request_rewrites.plain_images import plain_url, with_plain_images

_PLAIN = "data:image/png;base64,iVBORw=="


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        (_PLAIN, _PLAIN),
        ("data:;base64,iVBORw==", _PLAIN),
        ("data:image/png;base64,iVB\r\nORw==\n", _PLAIN),
        ("data:image/png;base64, iVBORw==", _PLAIN),
        ("DATA:image/PNG;charset=utf-8;base64,iVBORw==", _PLAIN),
        ("data:application/octet-stream;base64,iVBORw==", _PLAIN),
        ("data:image/jpeg;base64,iVBORw==", "data:image/jpeg;base64,iVBORw=="),
        ("data:image/svg+xml,<svg>", "data:image/svg+xml,<svg>"),
        ("https://example.org/x.png", "https://example.org/x.png"),
        ("", ""),
    ],
)
def test_addresses(url: str, plain: str) -> None:
    """With a type, in one line."""
    assert plain_url(url) == plain


def _body(name: str, part: Any) -> bytes:
    turn = {"role": "user", "content": [{"type": "text", "text": "x"}, part]}
    return json.dumps({"model": "m", name: [turn, {"role": "user", "content": "y"}]}).encode()


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        ("image_url", _PLAIN, {"url": _PLAIN}),
        ("image_url", {"url": "data:;base64,iVBORw==", "detail": "low"},
         {"url": _PLAIN, "detail": "low"}),
        ("input_image", "data:;base64,iVBORw==", _PLAIN),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["messages", "input"])
def test_parts(name: str, kind: str, said: Any, told: Any) -> None:
    """Of chats and of responses; every other member stays."""
    found = with_plain_images(parse(_body(name, {"type": kind, "image_url": said})))
    document = json.loads(found.body)
    assert document == json.loads(_body(name, {"type": kind, "image_url": told}))
    assert json.loads(bytes(getattr(found.fields, name))) == document[name]


def test_what_needs_no_change() -> None:
    """Stays in the client's own bytes."""
    for part in (
        {"type": "image_url", "image_url": {"url": _PLAIN}},
        {"type": "text", "text": "u"},
    ):
        request = parse(_body("messages", part))
        assert with_plain_images(request) is request


@pytest.mark.parametrize("said", [None, {}, {"url": None}, 3, []])
def test_no_address(said: Any) -> None:
    """Is refused, by its name."""
    with pytest.raises(ClientError, match="needs its image_url") as found:
        with_plain_images(parse(_body("messages", {"type": "image_url", "image_url": said})))
    assert found.value.param == "image_url"


@pytest.mark.parametrize("letter", ["A", "é"])
@pytest.mark.parametrize("space", ["", "\n", " "])
def test_a_large_image_is_looked_at_in_pieces(
    letter: str, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of all of it would keep every other thread waiting, the event loop's among them."""
    searched = Searched(plain_images._SPACE)
    monkeypatch.setattr(plain_images, "_SPACE", searched)
    line = letter * 76
    text = (line + space) * 40_000
    assert plain_url("data:image/png;base64," + text) == "data:image/png;base64," + line * 40_000
    assert max(searched.sizes, default=0) <= 2**18


class Searched:
    """A pattern that notes how much is searched at once."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.sizes: list[int] = []

    def search(self, text: str, at: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        self.sizes.append(min(end, len(text)) - at)
        return self._pattern.search(text, at, end)

    def sub(self, other: str, text: str) -> str:
        self.sizes.append(len(text))
        return self._pattern.sub(other, text)
