"""runnerd.relay.request_rewrites.transcode: which texts of a body are WebP images."""

from __future__ import annotations

import base64
import json

import pytest

from runnerd.relay.request_rewrites.transcode import ImageTranscoder

_IMAGE = base64.b64encode(b"RIFF\xff\xff\xff\xffWEBPVP8 xxxx").decode()
_SOUND = base64.b64encode(b"RIFF\xff\xff\xff\xffWAVEfmt xxxx").decode()


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"images": [_IMAGE]}, True),
        ({"images": [_SOUND, _IMAGE]}, True),
        ({"image_url": {"url": f"data:image/webp;base64,{_IMAGE}"}}, True),
        ({"source": {"type": "base64", "data": _IMAGE}}, True),
        ({"images": [_SOUND]}, False),
        ({"content": _IMAGE}, False),
        ({"content": f"look: {_IMAGE}"}, False),
        ({"content": f'the "data":"{_IMAGE}" of it'}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("indent", [None, 8])
def test_images_are_where_images_stand(
    document: dict[str, object], wanted: bool, indent: int | None
) -> None:
    """However the body is laid out, and also where a slash is escaped."""
    body = json.dumps(document, indent=indent)
    assert ImageTranscoder.wanted(body.encode()) is wanted
    assert ImageTranscoder.wanted(bytearray(body.replace("/", "\\/").encode())) is wanted


def test_what_is_no_json() -> None:
    """Bodies of forms are looked at as well."""
    assert not ImageTranscoder.wanted(b"base64,UklGR" * 1000)
