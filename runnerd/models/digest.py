"""The content identity of everything in the store.

Several model servers were broken into because a digest from outside became a path (`../`, upper
case, too short), and again because a second code path missed the fix.  Here `Digest` is the only
type from which a store path is made, and there is no way to have one that is not 64 lower-case hex
digits.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from runnerd.errors import InvalidReference

_PREFIX = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256, as 64 lower-case hex digits; `str()` gives `sha256:<hex>`."""

    hex: str

    def __post_init__(self) -> None:
        # fullmatch, because `$` would let a trailing newline through.
        if not _HEX.fullmatch(self.hex):
            raise InvalidReference(
                f"{self.hex[:80]!r} is not a sha256 digest: it takes 64 hex digits"
            )

    def __str__(self) -> str:
        return _PREFIX + self.hex

    @property
    def short(self) -> str:
        """The first 12 hex digits, for display."""
        return self.hex[:12]

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest written as `sha256:<64 lower-case hex digits>`.

        Raises errors.InvalidReference for anything else.
        """
        if not text.startswith(_PREFIX):
            raise InvalidReference(
                f"{text[:80]!r} is not a digest: it takes sha256:<64 hex digits>"
            )
        return cls(text.removeprefix(_PREFIX))

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Return the digest of `content`."""
        return cls(hashlib.sha256(content).hexdigest())
