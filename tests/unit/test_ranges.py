"""What a server says of a part of a file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runnerd.errors import SourceFailure
from runnerd.pulls.ranges import check_range, content_range, validator_of


def response(**headers: str) -> Any:
    """As much of a response as is looked at."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(headers=named, url=SimpleNamespace(host="example.com"))


def test_a_range() -> None:
    """The end is exclusive, on the wire it is not."""
    assert content_range(response(Content_Range="bytes 5-9/100")) == (5, 10, 100)


@pytest.mark.parametrize(
    "said",
    ["", "bytes 5-9", "bytes 5-9/*", "bytes */100", "items 5-9/100", "bytes 5-9/100, 1-2/100",
     "bytes -5-9/100", "bytes 5-9/" + "9" * 400],
)  # fmt: skip
def test_what_says_no_range(said: str) -> None:
    """The server has failed, and is named."""
    with pytest.raises(SourceFailure, match=r"example\.com"):
        content_range(response(Content_Range=said))


def test_another_range_than_was_asked_for() -> None:
    """It would be put into the wrong place."""
    check_range(response(), (5, 10), (5, 10))
    for found in ((5, 9), (4, 10), (0, 100)):
        with pytest.raises(SourceFailure):
            check_range(response(), found, (5, 10))


@pytest.mark.parametrize(
    ("etag", "validator"),
    [('"abc"', '"abc"'), ('W/"abc"', ""), ("abc", ""), ("", ""), ('"a\x00"', ""),
     ('"' + "x" * 2000 + '"', "")],
)  # fmt: skip
def test_validators(etag: str, validator: str) -> None:
    """Only a strong one says that two parts are of one file."""
    assert validator_of(response(ETag=etag)) == validator
