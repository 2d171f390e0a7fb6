"""How many tokens a text has at the least, told without a vocabulary.

A token stands for no more than `TOKEN_BYTES` bytes throughout a text, and for no more than
`TOKEN_CHANGES` changes between words, spaces and signs: a word with the space before it has one,
`<|start_header_id|>` two (of 1,469 texts with four vocabularies none had more than two a token,
bench/RESULTS.md).  Texts are looked at as they stand in JSON, in pieces, since other threads wait
for each call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runnerd.relay.body import Body

TOKEN_BYTES = 128  # the longest tokens of Llama 3 and Qwen are 128 spaces
TOKEN_CHANGES = 6

_WINDOW = 64 * 2**10  # bytes that one call looks at
_ESCAPE_BYTES = 6
_SIGN, _SPACE, _LETTER = b".", b" ", b"a"
_ESCAPES = (
    (rb"\\", _SIGN), (rb"\n", _SPACE), (rb"\"", _SIGN), (rb"\t", _SPACE), (rb"\/", _SIGN),
    (rb"\r", _SPACE), (rb"\b", _SPACE), (rb"\f", _SPACE),
)  # fmt: skip
_UNICODE = re.compile(rb"\\u[0-9a-fA-F]{4}")  # letters, as a rule
_BACKSLASH = ord("\\")


def _kind(byte: int) -> int:
    if byte in b" \t\n\r\b\f":
        return _SPACE[0]
    return _LETTER[0] if byte >= 0x80 or chr(byte).isalnum() or byte == ord("_") else _SIGN[0]


_KINDS = bytes(map(_kind, range(256)))


class Length:
    """What is known of texts that become one prompt: their bytes, and the changes in them.  Neither
    is more than there is.
    """

    __slots__ = ("bytes", "changes")

    def __init__(self, texts: Iterable[Body]) -> None:
        self.bytes = self.changes = 0
        for text in texts:
            for piece in _pieces(memoryview(text)):
                plain = _without_escapes(piece) if b"\\" in piece else piece
                self.bytes += len(plain)
                self.changes += _changes(plain.translate(_KINDS))

    @property
    def tokens(self) -> int:
        """The tokens, at the least."""
        return max(self.bytes // TOKEN_BYTES, self.changes // TOKEN_CHANGES)


def _pieces(text: memoryview) -> Iterator[bytes]:
    """A text without its marks at both ends, cut where no escape is."""
    at, end = 1, len(text) - 1
    while at < end:
        piece = bytes(text[at : min(at + _WINDOW, end)])
        cut = piece.rfind(b"\\", -_ESCAPE_BYTES) if at + len(piece) < end else -1
        while cut > 0 and piece[cut - 1] == _BACKSLASH:
            cut -= 1
        piece = piece[:cut] if cut > 0 else piece
        yield piece
        at += len(piece)


def _without_escapes(text: bytes) -> bytes:
    """A text with one byte for each escape, which is what a character has at the least."""
    for escape, byte in _ESCAPES:
        text = text.replace(escape, byte)
    return _UNICODE.sub(_LETTER, text) if b"\\" in text else text


def _changes(kinds: bytes) -> int:
    """How often a byte is followed by another one."""
    if not kinds:
        return 0
    number = int.from_bytes(kinds)
    differences = (number ^ (number >> 8)).to_bytes(len(kinds))
    return len(kinds) - 1 - differences.count(0, 1)
