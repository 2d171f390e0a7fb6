"""What stands in a request in base64: images and sounds, as engines read them.

Engines read JSON's escapes, take what stands behind the comma of a data: URL, and end at what is no
letter of base64, or pass over it.  Whoever writes it in another way than encoders do hides nothing.
"""

from __future__ import annotations

import base64
import re
import string

import msgspec

from runnerd.relay.body import UNDECODABLE, undecodable

_PIECE = 2**18  # characters that are decoded in one call, which other threads wait for
_ESCAPE = re.compile(rb"\\")
_COMMA = re.compile(rb",")  # behind which a data: URL has its image, however long it is before
_PLAIN = bytes.maketrans(b"-_", b"+/")  # engines read both alphabets
_LETTERS = string.ascii_letters.encode() + string.digits.encode() + b"+/-_"
_OTHERS = bytes(set(range(256)) - set(_LETTERS))
"""Engines end at these or pass over them: what stands before is the same image to either."""


def inline_content(said: memoryview, *, bare: bool) -> bytes:
    """The content of a data: URL, or of base64 alone (`bare`).  As JSON, with its quotation marks.

    Raises errors.ClientError.
    """
    said = without_escapes(said)
    return _binary(said, 1 if bare else _start(said))


def without_escapes(said: memoryview) -> memoryview:
    """A JSON string in which everything stands for itself.  Raises errors.ClientError."""
    if _ESCAPE.search(said) is None:
        return said
    try:
        text = msgspec.json.decode(said, type=str)
        return memoryview(b'"%b"' % text.encode())
    except (*UNDECODABLE, UnicodeEncodeError) as error:
        raise undecodable(error) from error


def _start(url: memoryview) -> int:
    """Where the base64 of a data: URL begins; at its end where it has none."""
    comma = _COMMA.search(url)
    return len(url) if comma is None else comma.end()


def _binary(url: memoryview, start: int) -> bytes:
    """The bytes that stand in base64 from a place on."""
    found, left = [], b""
    for at in range(start, len(url), _PIECE):
        piece = left + bytes(url[at : at + _PIECE]).translate(_PLAIN, _OTHERS)
        whole = len(piece) // 4 * 4
        left = piece[whole:]
        found.append(base64.b64decode(piece[:whole]))
    if len(left) > 1:
        found.append(base64.b64decode(left + b"=" * (4 - len(left))))
    return b"".join(found)
