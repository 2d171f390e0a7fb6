"""Patterns of JSON schemas in the few words that the engine's grammars know.

The engine takes literals, groups, classes and repetitions between `^` and `$`; any other pattern it
drops without a word, and its dot lets a quotation mark through, behind which the JSON is broken.
So a pattern is read here, by Python's own parser, and written anew.  Where a class is too wide for
JSON (quotes, backslashes, line ends) it is narrowed: what is generated still matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_LONGEST = 512  # characters of a pattern that is read
_MOST_REPEATED = 500
_PIECES = 1000  # of one pattern, repetitions multiplied: the engine takes twice as many
_UNSAFE = r'"\\\x00-\x1F'  # what stands in no JSON string as it is
_ANY = f"[^{_UNSAFE}]"
_CATEGORIES = {
    "CATEGORY_DIGIT": "0-9",
    "CATEGORY_SPACE": " ",
    "CATEGORY_WORD": "A-Za-z0-9_",
}
_UPPER, _LOWER = "A-ZÀ-ÖØ-ÞΑ-ΡΣ-ΫА-Я", "a-zß-öø-ÿα-ωа-я"
_PROPERTIES = {
    **{"Lu": _UPPER, "Ll": _LOWER, "N": "0-9", "Nd": "0-9", "P": "!#-'*,./:;?@_", "Z": " "},
    "L": _UPPER + _LOWER + "א-תء-يぁ-ゖァ-ヺ一-鿿가-힣",
    **{"Zs": " ", "S": "$+<->^`|~"},
}
_ESCAPE = re.compile(r"\\p\{(\w{1,40})\}|\\p([LNPZS])|\\.", re.DOTALL)
_NAMES = {"Letter": "L", "Alphabetic": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll"}
_NAMES |= {"Number": "N", "Decimal_Number": "Nd", "Punctuation": "P", "Uppercase": "Lu"}
_CLASS = r"(?P<start>\[\^?\]?)(?P<members>(?:\\.|[^\]\\])*)(?P<end>\]?)"
_ESCAPE_OR_CLASS = re.compile(f"{_ESCAPE.pattern}|{_CLASS}", re.DOTALL)
_MEMBER = re.compile(r"(\\.|.)(?:-(\\.|.))?", re.DOTALL)


class Untranslatable(Exception):
    """A pattern that no grammar of the engine's can say."""


@lru_cache(maxsize=256)
def engine_pattern(pattern: str) -> str | None:
    """A pattern as the engine enforces it; None where it cannot."""
    if len(pattern) > _LONGEST:
        return None
    try:
        tree = list(parser.parse(_in_python(pattern)))
        return f"^{_anchored(tree)}$"
    except (re.error, Untranslatable, OverflowError, RecursionError, Warning):
        return None


def _in_python(pattern: str) -> str:
    """The same in Python's words: properties of characters as what they are, groups by name."""
    pattern = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern)
    return _ESCAPE_OR_CLASS.sub(_escape_or_class, pattern)


def _escape_or_class(found: re.Match[str]) -> str:
    """A class with the characters of its properties, and without what Python warns of.

    It warns where other dialects read sets (`[a&&b]`).  To silence that would silence the whole
    process, whose other threads read patterns as well.
    """
    start = found["start"]
    if start is None:
        known = _characters(found)
        return known if known == found[0] else f"[{known}]"
    if not found["end"]:
        raise Untranslatable("a class without an end")
    members = _ESCAPE.sub(_characters, found["members"])
    return f"{start}{_MEMBER.sub(_escaped_member, members)}]"


def _escaped_member(found: re.Match[str]) -> str:
    first, last = (f"\\{each}" if each and each in "[-&|~" else each for each in found.groups())
    return first if last is None else f"{first}-{last}"


def _characters(found: re.Match[str]) -> str:
    """A property's characters; any other escape as it is."""
    name = found[1] or found[2]
    if name is None:
        return found[0]
    try:
        return _PROPERTIES[_NAMES.get(name, name)]
    except KeyError:
        raise Untranslatable(name) from None


def _anchored(tree: list[Any]) -> str:
    """A whole pattern: without an anchor anything may stand before or behind."""
    if len(tree) == 1 and tree[0][0] is op.BRANCH:
        return f"({'|'.join(_anchored(list(branch)) for branch in tree[0][1][1])})"
    begins = bool(tree) and tree[0] in ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING))
    ends = bool(tree) and tree[-1] in ((op.AT, op.AT_END), (op.AT, op.AT_END_STRING))
    inner = tree[begins : len(tree) - ends]
    text, _ = _sequence(inner)
    return ("" if begins else f"{_ANY}*") + text + ("" if ends else f"{_ANY}*")


def _sequence(tree: Iterable[Any]) -> tuple[str, int]:
    """The text of a sequence, and of how many pieces it is."""
    texts, size = [], 0
    for name, value in tree:
        text, pieces = _piece(name, value)
        texts.append(text)
        size += pieces
        if size > _PIECES:
            raise Untranslatable("too long")
    return "".join(texts), size


def _piece(name: Any, value: Any) -> tuple[str, int]:
    if name is op.LITERAL:
        return _literal(value), 1
    if name is op.NOT_LITERAL:
        return f"[^{_member(value)}{_UNSAFE}]", 1
    if name is op.ANY:
        return _ANY, 1
    if name is op.IN:
        return _class(value), 1
    if name is op.SUBPATTERN:
        _, added, removed, inner = value
        if added or removed:
            raise Untranslatable("flags")
        return _group(inner)
    if name is op.BRANCH:
        found = [_sequence(branch) for branch in value[1]]
        if not all(text for text, _ in found):
            raise Untranslatable("an empty alternative")
        return f"({'|'.join(text for text, _ in found)})", sum(size for _, size in found)
    if name in (op.MAX_REPEAT, op.MIN_REPEAT):
        return _repeated(*value)
    raise Untranslatable(str(name))


def _group(inner: Iterable[Any]) -> tuple[str, int]:
    text, size = _sequence(inner)
    return (f"({text})" if text else ""), size


def _repeated(least: int, most: Any, inner: Iterable[Any]) -> tuple[str, int]:
    text, size = _group(inner)
    if not text:
        return "", 0
    endless = most is op.MAXREPEAT
    if (least, endless) in ((0, True), (1, True)):
        return text + "*+"[least], size
    if (least, most) == (0, 1):
        return text + "?", size
    times = least if endless else int(most)
    if times > _MOST_REPEATED or times * size > _PIECES:
        raise Untranslatable("too many repetitions")
    if not endless and times == 0:
        return "", 0
    bounds = f"{least}," if endless else f"{least},{times}"
    return f"{text}{{{bounds}}}", times * size


def _literal(code: int) -> str:
    """A character as it stands in a JSON string, told in a pattern."""
    if code in (0x22, 0x5C):
        return r"\\" + ('"' if code == 0x22 else r"\\")
    if code < 0x20:
        raise Untranslatable("a control character")
    return "\\" + chr(code) if chr(code) in "^$.[]()|{}*+?" else chr(code)


def _class(members: list[Any]) -> str:
    negated = members[0][0] is op.NEGATE
    parts = [_part(name, value, negated=negated) for name, value in members[negated:]]
    text = "".join(parts)
    if negated:
        return f"[^{text}{_UNSAFE}]"
    if any("^" + part in parts for part in parts):  # [\s\S]: some, and all others
        return _ANY
    if any(part.startswith("^") for part in parts):
        if len(parts) > 1:
            raise Untranslatable("a class of unlike kinds")
        return f"[{text}{_UNSAFE}]"
    if not text:
        raise Untranslatable("a class of nothing that JSON holds")
    return f"[{text}]"


def _part(name: Any, value: Any, *, negated: bool) -> str:
    if name is op.LITERAL:
        return _member(value) if negated or _fits(value) else ""
    if name is op.RANGE:
        low, high = value
        if negated:
            return f"{_member(low)}-{_member(high)}"
        return "".join(f"{_member(a)}-{_member(b)}" for a, b in _safe(low, high))
    if name is op.CATEGORY:
        kind = str(value)
        if (inverse := kind.replace("_NOT_", "_")) == kind:
            return _CATEGORIES[kind] + ("\\n\\r\\t" if negated and kind.endswith("SPACE") else "")
        if negated:
            raise Untranslatable("all but what is not of a kind")
        return "^" + _CATEGORIES[inverse]
    raise Untranslatable(str(name))


def _fits(code: int) -> bool:
    return code >= 0x20 and code not in (0x22, 0x5C)


def _safe(low: int, high: int) -> Iterator[tuple[int, int]]:
    """A range without what stands in no JSON string as it is."""
    for first, last in ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x10FFFF)):
        if (a := max(low, first)) <= (b := min(high, last)):
            yield a, b


def _member(code: int) -> str:
    """A character of a class."""
    if code < 0x20:
        return f"\\x{code:02X}"
    return "\\" + chr(code) if chr(code) in '[]-\\"' else ("\\x5E" if code == 0x5E else chr(code))
