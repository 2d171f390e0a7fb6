"""What a grammar has open after some text is known before an engine follows it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay import grammar_growth
from runnerd.relay.grammar_growth import grows_too_far
from runnerd.relay.open_ways import OpenWays
from tests.unit.test_grammar_cost import JSON, chain

DOUBLES = 'root ::= "x" root "y" | "x" root "z"'
C_LIKE = r"""
root ::= (declaration)*
declaration ::= dataType identifier "(" parameter? ")" "{" statement* "}"
dataType ::= "int" ws | "float" ws | "char" ws
identifier ::= [a-zA-Z_] [a-zA-Z_0-9]*
parameter ::= dataType identifier
statement ::= ( dataType identifier ws "=" ws expression ";" ) |
  ( identifier ws "=" ws expression ";" ) |
  ( identifier ws "(" argList? ")" ";" ) |
  ( "return" ws expression ";" ) |
  ( "while" "(" condition ")" "{" statement* "}" )
condition ::= expression relationOperator expression
relationOperator ::= ("<=" | "<" | "==" | "!=" | ">=" | ">")
expression ::= term (("+" | "-") term)*
term ::= factor(("*" | "/") factor)*
factor ::= identifier | number | "-" factor | "(" expression ")" | identifier "(" argList? ")"
argList ::= expression ("," ws expression)*
number ::= [0-9]+
ws ::= ([ \t\n]+)
"""


@pytest.mark.parametrize(
    "grammar",
    [
        DOUBLES,
        f'root ::= "{"a" * 200}" b\n' + DOUBLES.replace("root", "b"),
        'root ::= ("x" root "y" | "x" root "z")+',
        'root ::= [a-z] root "y" | "x" root? "z" | "\\x78" root',
        'root ::= (. root "y") | [^y] root "z" | "x"',
        'root ::= "ab" root "y" | "ab" root "z" | "ab"',
        chain(25, 'a{0} ::= "x" a{1} | "x" a{1} "z"').replace("x", "\\u0078"),
        'root ::= b{2,50}\nb ::= "x" b "y" | "x" b "z" | "x"',
        'root ::= <think> root "y" | <think> root "z"',
        'root ::= [z-a0-9b-ca-d] root "y" | [^e-zA-Z] root "z"',
    ],
)
def test_one_that_grows_with_each_character(grammar: str) -> None:
    """Wherever that begins, however it is written, and whatever it is for."""
    assert grows_too_far(grammar)


@pytest.mark.parametrize(
    "grammar",
    [
        JSON,
        C_LIKE,
        "root ::= " + " | ".join(f'"word {n}"' for n in range(2000)),
        'root ::= item{1,500}\nitem ::= "- " [^\\n]{1,200} "\\n"',
        'root ::= "x" root "y" | "x"',
        'root ::= ("a" | "b")* [ab]* ("ab")*',
        'root ::= root "x"',
        'other ::= "x"',
        "root ::= missing",
        "no grammar (",
        "root ::= [] | [^\\x00-\\U0010FFFF] | [a-] | [\\]]",
    ],
)
def test_honest_ones(grammar: str) -> None:
    """And what the engine refuses itself."""
    assert not grows_too_far(grammar)


def test_it_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at is bounded, whatever the grammar; the same one costs nothing again."""
    made: list[OpenWays[Any]] = []

    class Counted(OpenWays[Any]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(grammar_growth, "OpenWays", Counted)
    wide = "root ::= w{30} b\nw ::= " + " | ".join(f'"w{n}"' for n in range(3000))
    for grammar in (wide, wide, chain(60, "a{0} ::= (a{1} | [a-z])* a{1}")):
        grows_too_far(grammar)
    assert len(made) == 2
    assert max(ways.looks for ways in made) < 20_000


def test_what_is_long_is_written_as_far_as_it_is_looked_at() -> None:
    """Not each of the characters of a text or a class that nobody comes to, nor each repetition."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    for grammar in (
        'root ::= "' + "a" * 60_000 + '" | "b"',
        "root ::= " + " ".join("[0-9]{1,60}" for _ in range(5000)),
        'root ::= "x" (' + " ".join(f'"{n}"' for n in range(8000)) + ")",
    ):
        sys.setprofile(count)
        try:
            assert not grows_too_far(grammar)
        finally:
            sys.setprofile(None)
    assert steps < 300_000


@given(st.text(alphabet='ab ":=|()*+?{}[],019\\\n#._-<>!^', max_size=200))
def test_any_text_is_answered(text: str) -> None:
    """Nothing else comes of it."""
    grows_too_far("root ::= " + text)
