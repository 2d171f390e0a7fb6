"""What an image takes is known of any that engines read, also of those that hide it."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runnerd.errors import ClientError
from runnerd.relay.image_cost import image_cost
from runnerd.relay.inline_content import inline_content
from tests.support.hostile_images import chunk, png_bomb, png_of, scans

SIZE = (120, 100)
PIXELS = SIZE[0] * SIZE[1]


def drawn(form: str, mode: str = "RGB", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, SIZE).save(file, form, **how)
    return file.getvalue()


def url(content: bytes) -> bytes:
    return json.dumps("data:image/x;base64," + base64.b64encode(content).decode()).encode()


def cost_of(url: bytes) -> int:
    return image_cost(inline_content(memoryview(url), bare=False))


def cost(content: bytes) -> int:
    return cost_of(url(content))


@pytest.mark.parametrize(
    ("content", "times"),
    [
        (drawn("PNG"), 1),
        (drawn("PNG", "I;16"), 3),
        (drawn("JPEG"), 1),
        (drawn("JPEG", progressive=True), 2),
        (drawn("WEBP", lossless=True), 1),
        (drawn("WEBP"), 1),
        (drawn("WEBP", "RGBA", exif=b"x"), 1),
        (drawn("GIF"), 1),
        (drawn("BMP"), 1),
        (drawn("TGA"), 1),
        (b"<svg/>", 0),
        (drawn("TIFF"), 0),
    ],
)
def test_pixels(content: bytes, times: int) -> None:
    """As many as there are, more where each takes more, none of what engines do not read."""
    assert cost(content) == PIXELS * times


def test_an_old_bitmap() -> None:
    """OS/2's has short numbers."""
    head = b"BM" + struct.pack("<IHHIIHHHH", 26, 0, 0, 26, 12, *SIZE, 1, 24)
    assert cost(head) == PIXELS


def test_a_jpeg_says_its_size_behind_a_megabyte_of_comments() -> None:
    """However much stands before its frame."""
    plain = drawn("JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 65535) + bytes(65533)
    assert cost(plain[:2] + comment * 16 + plain[2:]) == PIXELS


def test_apples_png_says_its_size_behind_a_chunk_of_its_own() -> None:
    """Which engines pass over."""
    plain = drawn("PNG")
    assert cost(plain[:8] + chunk(b"CgBI", b"\0\1\0\1") + plain[8:]) == PIXELS


@pytest.mark.parametrize("apple", [False, True])
def test_a_png_that_holds_more_than_it_says(apple: bool) -> None:
    """It is refused before it is decoded whole; what is as long as it says passes."""
    with pytest.raises(ClientError, match="more than its size says"):
        cost(png_bomb(400 * 2**20, apple=apple))
    noise = bytes(range(251)) * 4000  # compresses badly: not one of those that are never looked at
    honest = png_of(1000, 334, zlib.compress(noise[: 334 * 3001], 0))
    assert cost(honest) == 334_000


def test_a_jpeg_that_goes_over_its_pixels_again_and_again() -> None:
    """Each time costs what the first one did, and a few bytes."""
    assert cost(scans(*SIZE, 200)) == PIXELS
    with pytest.raises(ClientError, match="scans"):
        cost(scans(*SIZE, 300))


def test_base64_in_any_form() -> None:
    """As engines read it: either alphabet, escapes and spaces anywhere."""
    content = png_bomb(400 * 2**20)
    text = base64.b64encode(content).decode()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    for said in (text.replace("+", "-").replace("/", "_"), lines, " " + lines):
        for raw in (json.dumps(said), json.dumps(said).replace("/", "\\/")):
            with pytest.raises(ClientError, match="more than"):
                cost_of(b'"data:;base64,' + raw[1:].encode())


def test_a_png_that_hides_its_size() -> None:
    """Behind several chunks that engines pass over, one of which looks like its size."""
    plain, other = drawn("PNG"), struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    assert cost(plain[:8] + chunk(b"CgBI", b"") + chunk(b"CgBI", other) + plain[8:]) == PIXELS


def test_a_png_that_hides_what_it_holds() -> None:
    """Its data's header is in several chunks, or is said to be none behind its size."""
    bomb, data = png_bomb(400 * 2**20), 8 + 25  # behind its size
    (length,) = struct.unpack_from(">I", bomb, data)
    content = bomb[data + 8 : data + 8 + length]
    for hidden in (
        chunk(b"IDAT", b"") + chunk(b"IDAT", content),
        chunk(b"IDAT", content[:1]) + chunk(b"IDAT", content[1:]),
        chunk(b"CgBI", b"") + chunk(b"IDAT", content[2:]),
    ):
        with pytest.raises(ClientError, match="more than its size says"):
            cost(bomb[:data] + hidden)
    with pytest.raises(ClientError, match="damaged"):
        cost(bomb[:data] + chunk(b"IDAT", content[:2] + b"\7" + content[3:]))


def test_a_jpeg_that_hides_where_it_begins() -> None:
    """Engines pass over any number of bytes that fill."""
    assert cost(b"\xff" + drawn("JPEG")) == PIXELS
    plain = drawn("JPEG")
    assert cost(plain[:2] + bytes(10) + b"\xff" * 2**20 + plain[2:]) == PIXELS
    with pytest.raises(ClientError, match="segments"):
        cost(plain[:2] + b"\xff\xfe\0\2" * 5000 + plain[2:])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_comes(data: st.DataObject) -> None:
    """It has a cost, or is refused."""
    start = data.draw(st.sampled_from([drawn("PNG"), drawn("JPEG"), drawn("WEBP"), b"BM", b""]))
    cut = data.draw(st.integers(0, len(start)))
    content = start[:cut] + data.draw(st.binary(max_size=40)) + start[cut:]
    try:
        assert cost(content) >= 0
    except ClientError:
        pass
    raw = msgspec.json.encode("data:;base64," + data.draw(st.text()))
    assert cost_of(raw) >= 0
