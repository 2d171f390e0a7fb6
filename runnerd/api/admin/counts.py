"""How many of something a query asks for."""

from __future__ import annotations

from aiohttp import web

from runnerd.errors import ClientError


def count_of(request: web.Request, name: str, *, usual: int, most: int) -> int:
    """The number that a query parameter says.  Raises errors.ClientError."""
    text = request.query.get(name)
    if text is None:
        return usual
    # Its length is looked at first: reading a number takes time with the square of that.
    known = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not known or not 0 < int(text) <= most:
        raise ClientError(f"{name} is a number from 1 to {most}", param=name)
    return int(text)
