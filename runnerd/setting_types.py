"""What the values of settings may be: text, addresses, modes of files, quantities.

Each is refused with a ValueError that says how to write it; pydantic tells of which setting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from runnerd.units import MOST_SECONDS


def check_text(said: object) -> None:
    """Refuse text that no file's name, log or response can hold.  Raises ValueError."""
    if isinstance(said, dict):
        for name, value in said.items():
            check_text(name)
            check_text(value)
    elif isinstance(said, list):
        for value in said:
            check_text(value)
    elif isinstance(said, str | Path) and _UNUSABLE.search(str(said)):
        raise ValueError(f"{str(said)[:100]!r} is not plain text")


_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _web_address(text: str) -> str:
    """Refuse what is no http(s)://HOST[:PORT] address; empty passes.  Raises ValueError."""
    if text:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
            raise ValueError("write it as https://HOST or http://HOST:PORT")
        parts.port  # noqa: B018  (raises for one that is none)
    return text


def _registry(text: str) -> str:
    """Return the HOST[:PORT] of a registry, however it was written.  Raises ValueError."""
    plain = text.strip().partition("://")[2] or text.strip()
    plain = plain.rstrip("/")
    if not _REGISTRY.fullmatch(plain):
        raise ValueError(f"{text!r} is not a registry: write it as HOST or HOST:PORT")
    return plain


_REGISTRY = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def _octal(said: object) -> object:
    """A mode as text is octal, as chmod takes it.  Raises ValueError."""
    if not isinstance(said, str):
        return said
    try:
        return int(said, 8)
    except ValueError as error:
        raise ValueError("write it in octal, like 0660") from error


def _socket_mode(mode: int) -> int:
    """A mode that a socket can have.  Raises ValueError."""
    if not 0 <= mode <= 0o777:
        raise ValueError(f"{mode} is not a mode of a socket; write it in octal, like 0o660")
    return mode


def _lower(said: object) -> object:
    """Text in lower case; anything else as it is."""
    return said.lower() if isinstance(said, str) else said


Registry = Annotated[str, AfterValidator(_registry)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
SocketMode = Annotated[int, AfterValidator(_socket_mode), BeforeValidator(_octal)]
LowerCase = Annotated[str, BeforeValidator(_lower)]
# Every number has an end: none overflows a timer, a date or a 64-bit counter.
Seconds = Annotated[float, Field(le=MOST_SECONDS, allow_inf_nan=False)]
Bytes = Annotated[int, Field(le=2**60)]
Count = Annotated[int, Field(le=2**20)]
