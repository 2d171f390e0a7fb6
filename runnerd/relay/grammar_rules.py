"""Grammars in llama.cpp's notation (GBNF), read into rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ENDLESS = 10**6
"""How often something may come that may come without an end."""

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]*
    | (?P<rule>[A-Za-z0-9_-]+)(?=\s*::=) | (?P<is>::=) | (?P<name>[A-Za-z0-9_-]+)
    | (?P<text>"(?:\\.|[^"\\])*" | \[(?:\\.|[^\]\\])*\] | \.
        | !?<(?:\[\d+\]|[^<>\s\[\]]+)>)
    | (?P<sign>[()|*+?]) | \{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\}""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Item:
    """A `text` as it is written (`what` is None), a rule by its name, or a choice in brackets; how
    often it may come.
    """

    what: str | Choice | None
    least: int = 1
    most: int = 1
    text: str = ""


@dataclass(slots=True)
class Choice:
    """Ways of which one comes."""

    ways: list[list[Item]] = field(default_factory=lambda: [[]])


def rules_of(text: str) -> dict[str, Choice] | None:
    """The rules of a grammar by name, None where it is none."""
    rules: dict[str, Choice] = {}
    open_: list[Choice] = []
    for token in _tokens(text):
        if token is None:
            return None
        if token.lastgroup == "rule":
            open_ = [rules.setdefault(token.group(), Choice())]
        elif not open_ or not _took(open_, token):
            return None
    return rules


def _took(open_: list[Choice], token: re.Match[str]) -> bool:
    """Put a token into the innermost open choice; False where it cannot stand there."""
    kind, said = token.lastgroup, token.group()
    way = open_[-1].ways[-1]
    if said == "(":
        open_.append(Choice())
        way.append(Item(open_[-1]))
    elif said == ")":
        open_.pop()
    elif said == "|":
        open_[-1].ways.append([])
    elif kind in ("name", "text"):
        way.append(Item(said) if kind == "name" else Item(None, text=said))
    elif kind != "is":
        if not way:
            return False
        _repeat(way[-1], token)
    return True


def _tokens(text: str) -> Iterator[re.Match[str] | None]:
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            yield None
            return
        at = token.end()
        if token.lastgroup is not None:
            yield token


def _repeat(item: Item, token: re.Match[str]) -> None:
    sign = token["sign"]
    if sign is not None:
        item.least = 0 if sign in "*?" else item.least
        item.most = item.most if sign == "?" else ENDLESS
        return
    least = int((token["least"] or "0")[:7])
    most = int(token["most"][:7]) if token["most"] else ENDLESS if token["comma"] else least
    item.least, item.most = least * min(item.least, 1), most
