"""What values of runtime flags may look like: types that no path, URL or option fits.

Each type writes its value anew, in the engine's spelling.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

_DEEPEST = 16  # levels of a JSON value
_MOST_MEMBERS = 1000  # in all of its levels


_NUMBER_LIKE = re.compile(r"-[0-9.]")


def is_number_like(text: str) -> bool:
    """Return whether what begins with a dash may be a value all the same."""
    return _NUMBER_LIKE.match(text) is not None


class Type(Protocol):
    @property
    def description(self) -> str: ...

    def parse(self, text: str) -> str | None:
        """Return the value as the engine gets it, None when `text` is not of this type."""
        ...


@dataclass(frozen=True, slots=True)
class Integer:
    low: int
    high: int = 2**31 - 1

    @property
    def description(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> str | None:
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text):
            return None
        value = int(text)
        return str(value) if self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float

    @property
    def description(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def parse(self, text: str) -> str | None:
        if not re.fullmatch(
            r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})(e[+-]?[0-9]{1,2})?", text
        ):
            return None
        value = float(text)
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return None
        return format(value, ".10g")


@dataclass(frozen=True, slots=True)
class Choice:
    """`bare` is the value of the flag when it stands alone."""

    choices: tuple[str, ...]
    bare: str | None = None

    @property
    def description(self) -> str:
        return "one of " + ", ".join(self.choices)

    def parse(self, text: str) -> str | None:
        return text if text in self.choices else None


@dataclass(frozen=True, slots=True)
class List:
    """Up to `longest` items of one type between separators."""

    item: Type
    longest: int
    separator: str = ","

    @property
    def description(self) -> str:
        return (
            f"up to {self.longest} values between {self.separator!r}, each {self.item.description}"
        )

    def parse(self, text: str) -> str | None:
        items = [self.item.parse(part) for part in text.split(self.separator)]
        if len(items) > self.longest or any(item is None for item in items):
            return None
        return self.separator.join(item for item in items if item is not None)


@dataclass(frozen=True, slots=True)
class Pattern:
    pattern: str
    description: str

    def parse(self, text: str) -> str | None:
        return text if re.fullmatch(self.pattern, text) else None


@dataclass(frozen=True, slots=True)
class Text:
    """Words that the engine hands to nobody but its own models; never what looks like an option."""

    longest: int
    lines: bool = False

    @property
    def description(self) -> str:
        return f"text of at most {self.longest} characters that does not begin with a dash"

    def parse(self, text: str) -> str | None:
        allowed = "\n\t" if self.lines else ""
        printable = all(letter.isprintable() or letter in allowed for letter in text)
        if not text or text[0] == "-" or len(text) > self.longest or not printable:
            return None
        return text


@dataclass(frozen=True, slots=True)
class JsonObject:
    """An object, bounded in bytes, depth and members; what repeats a name or is no number goes."""

    longest: int

    @property
    def description(self) -> str:
        return (
            f"a JSON object of at most {self.longest} bytes, {_DEEPEST} levels "
            f"and {_MOST_MEMBERS} members"
        )

    def parse(self, text: str) -> str | None:
        if len(text) > self.longest:
            return None
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or not _bounded(value):
            return None
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return written if len(written.encode("utf-8", "replace")) <= self.longest else None


@dataclass(frozen=True, slots=True)
class TensorPlaces:
    """`PATTERN=BUFFER,...` of --override-tensor; a pattern that could run for ages is refused."""

    description: str = (
        "up to 64 of PATTERN=BUFFER between commas: a regular expression without a repeated "
        "repetition, and a buffer such as CPU or CUDA0"
    )

    def parse(self, text: str) -> str | None:
        parts = text.split(",")
        if len(parts) > 64 or not all(self._sound(part) for part in parts):
            return None
        return text

    def _sound(self, part: str) -> bool:
        pattern, equals, buffer = part.rpartition("=")
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,31}", buffer):
            return False
        if not re.fullmatch(r"[A-Za-z0-9_.*+?|()\[\]{}^$\\-]{1,128}", pattern):
            return False
        if pattern.startswith("-") or _REPEATED.search(pattern):
            return False
        try:
            re.compile(pattern)
        except re.error:
            return False
        return True


_REPEATED = re.compile(r"[+*}?]\)*[+*{]|\([^()]*[+*{][^()]*\)+[+*{]|\(.*\(.*\).*\)[+*{]")


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _bounded(value: Any) -> bool:
    """Return whether a value is shallow and small; walks level by level, without recursion."""
    level, members = [value], 0
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                below += item.values() if isinstance(item, dict) else item
        members += len(below)
        if members > _MOST_MEMBERS:
            return False
        if not below:
            return True
        level = below
    return False
