"""What a response to a ranged request says of itself."""

from __future__ import annotations

import re

import aiohttp

from runnerd.errors import SourceFailure

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


def content_range(response: aiohttp.ClientResponse) -> tuple[int, int, int]:
    """The start, the end (exclusive) and the file's size that a 206 states."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise SourceFailure(f"{response.url.host} sent a part without saying which one")
    start, last, total = (int(number) for number in match.groups())
    return start, last + 1, total


def check_range(
    response: aiohttp.ClientResponse, found: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """Raise errors.SourceFailure where a 206 is of another range than was asked for."""
    if found != wanted:
        raise SourceFailure(f"{response.url.host} sent another part of the file than was asked for")


def validator_of(response: aiohttp.ClientResponse) -> str:
    """The response's strong validator, or an empty text."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') and len(etag) < 1024 and etag.isprintable() else ""
