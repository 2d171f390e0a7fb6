"""What an image will take is known before an engine decodes it, and no address reaches one."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import pytest
from PIL import Image

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.body_inspection import inspect

LIMITS = Limits(image_pixels=20_000, images=3)


def image(form: str, size: tuple[int, int] = (120, 100), **how: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form, **how)
    return file.getvalue()


def body(*parts: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()


def inline(content: bytes) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(image("PNG"), id="png"),
        pytest.param(image("JPEG"), id="jpeg"),
        pytest.param(image("JPEG", comment=b"x" * 60000), id="late jpeg"),
        pytest.param(image("GIF"), id="gif"),
        pytest.param(image("BMP"), id="bmp"),
        pytest.param(image("TGA", compression="tga_rle"), id="tga"),
    ],
)
def test_images_are_counted_in_pixels(content: bytes) -> None:
    """One is within the limit, two are beyond it; slashes may be escaped."""
    inspect(body(inline(content)), LIMITS)
    inspect(body(inline(content)).replace(b"/", b"\\/"), LIMITS)
    with pytest.raises(PayloadTooLarge, match="pixels"):
        inspect(body(inline(content), inline(content)), LIMITS)
    with pytest.raises(PayloadTooLarge, match="pixels"):
        inspect(body(inline(content), inline(content)).replace(b"/", b"\\/"), LIMITS)


def test_images_are_counted() -> None:
    """Whatever is in them."""
    inspect(body(*[inline(b"x")] * 3), LIMITS)
    with pytest.raises(PayloadTooLarge, match="more than 3 images"):
        inspect(body(*[inline(b"x")] * 4), LIMITS)


@pytest.mark.parametrize("start", [b"8BPS", b"P6 70000 70000 255\n", b"#?RADIANCE\n", b"P5"])
def test_formats_that_nobody_sends_are_refused(start: bytes) -> None:
    """The engine's decoder would read them, too."""
    with pytest.raises(ClientError, match="PNG, JPEG"):
        inspect(body(inline(start + bytes(40))), LIMITS)


@pytest.mark.parametrize("cut", range(40))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TGA"])
def test_half_an_image_is_the_engines_to_refuse(form: str, cut: int) -> None:
    """However little there is of it."""
    inspect(body(inline(image(form)[:cut])), LIMITS)


def test_a_bitmap_may_stand_on_its_head() -> None:
    """Its height is negative then."""
    content = bytearray(image("BMP", (150, 100)))
    content[22:26] = struct.pack("<i", -100)
    with pytest.raises(PayloadTooLarge):
        inspect(body(inline(bytes(content)), inline(bytes(content))), LIMITS)


@pytest.mark.parametrize("name", ["video_url", "audio_url", "file_url", "video\\u005furl"])
@pytest.mark.parametrize("value", ["http://a/b", "file:///etc/passwd", "data:video/mp4;base64,AA"])
def test_other_addresses_are_refused_by_rule(name: str, value: str) -> None:
    """As text or as an object's url, also with its name in escapes."""
    for said in (value, {"url": value}):
        text = body({"type": "video_url", "NAME": said}).replace(b"NAME", name.encode())
        with pytest.raises(ClientError, match="not supported"):
            inspect(text, LIMITS)


def test_a_schema_may_have_properties_of_such_names() -> None:
    """They are no addresses."""
    parameters = {"properties": {"image_url": {"type": "string"}, "video_url": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    inspect(json.dumps({"model": "m", "tools": [tool]}).encode(), LIMITS)


def sound_body(hertz: int) -> bytes:
    """A request with a WAV file of 50,000 samples."""
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, hertz, 0, 2, 16)
    sound = base64.b64encode(head + b"data" + bytes(100_000)).decode()
    return body({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}})


def test_sounds_are_bounded_by_their_length() -> None:
    """At one sample a second they are half a day; who is short passes."""
    inspect(sound_body(16000), Limits())
    with pytest.raises(PayloadTooLarge, match="longer than 3600 s"):
        inspect(sound_body(1), Limits())


@pytest.mark.parametrize("member", ["data", "url"])
@pytest.mark.parametrize("address", ["http://a/b", "file:///etc/passwd", "\\u0068ttps://a"])
def test_sounds_have_no_addresses(member: str, address: str) -> None:
    """An engine would fetch what stands in either; so short a body is looked at as well."""
    text = body({"type": "input_audio", "input_audio": {member: "ADDRESS"}})
    with pytest.raises(ClientError, match="fetches nothing"):
        inspect(text.replace(b"ADDRESS", address.encode()), LIMITS)


def test_a_sound_cannot_hide_its_length() -> None:
    """Behind what is no base64."""
    text = sound_body(1).replace(b'", "format"', b'!AAA", "format"')
    with pytest.raises(PayloadTooLarge, match="longer than 3600 s"):
        inspect(text, Limits())


@pytest.mark.parametrize("member", ["data", "url"])
def test_videos_are_refused(member: str) -> None:
    """Under each of the names that engines know."""
    with pytest.raises(ClientError, match="input_video is not supported"):
        inspect(body({"type": "input_video", "input_video": {member: "AAAA"}}), LIMITS)


def test_images_count_wherever_they_stand() -> None:
    """As a sound, and beside a text to complete: engines look at what they are."""
    said = base64.b64encode(image("PNG")).decode()
    sound = {"type": "input_audio", "input_audio": {"data": said, "format": "wav"}}
    beside = {"prompt_string": "x", "multimodal_data": [said, said]}
    for text in (
        body(sound, sound),
        json.dumps({"model": "m", "prompt": beside}).encode(),
        json.dumps({"model": "m", "prompt": ["x", beside]}).encode(),
    ):
        with pytest.raises(PayloadTooLarge, match="pixels"):
            inspect(text, LIMITS)


def test_a_large_image_beside_a_text_is_no_sound() -> None:
    """It would last for hours, by its size."""
    said = base64.b64encode(image("PNG") + bytes(4 * 10**6)).decode()
    beside = {"prompt_string": "x", "multimodal_data": [said]}
    inspect(json.dumps({"model": "m", "prompt": beside}).encode(), Limits())
