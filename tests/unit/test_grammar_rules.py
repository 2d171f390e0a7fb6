"""Grammars are read into rules."""

from __future__ import annotations

from runnerd.relay.grammar_rules import ENDLESS, Choice, Item, rules_of


def test_rules() -> None:
    """By name; texts as they are written, brackets as choices, with how often each may come."""
    rules = rules_of('root ::= "a" b* | (b [x-z]){2,3} # note\nb ::= . <think> !<[5]>+')
    assert rules is not None
    assert rules["root"].ways == [
        [Item(None, text='"a"'), Item("b", 0, ENDLESS)],
        [Item(Choice([[Item("b"), Item(None, text="[x-z]")]]), 2, 3)],
    ]
    assert rules["b"].ways == [
        [Item(None, text="."), Item(None, text="<think>"), Item(None, 1, ENDLESS, text="!<[5]>")]
    ]


def test_what_is_no_grammar() -> None:
    """Is left to the engine, which refuses it."""
    for text in ("no grammar (", "root ::= ) *", '"a"', "root ::= *", 'root ::= "a'):
        assert rules_of(text) is None, text
