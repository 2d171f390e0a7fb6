"""What the documents name is looked for, and what they leave out is told."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rules import documents
from tests.rules.sources import Source

ARCHITECTURE = documents._architecture()


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have the architecture say something else than it does."""

    def change(said: str, wrong: str) -> None:
        assert said in ARCHITECTURE
        changed = ARCHITECTURE.replace(said, wrong, 1)
        monkeypatch.setattr(documents, "_architecture", lambda: changed)

    return change


@pytest.mark.parametrize(
    ("said", "wrong", "rule", "told"),
    [
        ("`ServerFinder`", "`EngineFinder`", documents.named_classes, "no class EngineFinder"),
        ("`Settings.adopt`", "`Settings.take`", documents.named_classes, "Settings has no take"),
        ("lease_at_once(key)", "borrow(key)", documents.drawn_calls, "calls borrow()"),
        ("    upkeep    ", "    tending    ", documents.rooms_described, "no line for upkeep"),
        ("    upkeep    ", "    tending    ", documents.rooms_described, "a line for tending"),
        (
            "`models/gotemplates`",
            "`x`",
            documents.rooms_described,
            "said of gotemplates in models/",
        ),
        ('llms["llms: ', 'llms["all: ', documents.drawn_imports, "the diagram of rooms lacks llms"),
        ("relay --> pulls", "pulls --> relay", documents.drawn_imports, "pulls --> relay is drawn"),
    ],
)
def test_a_breach_is_seen(
    instead: Callable[[str, str], None],
    said: str,
    wrong: str,
    rule: Callable[[], Iterator[str]],
    told: str,
) -> None:
    """One for each thing that the architecture can have wrong."""
    instead(said, wrong)
    assert told in "\n".join(rule())


def test_paths_in_comments_lead_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is gone, and a name that is in another one."""
    made = Source(Path("runnerd/one.py"))
    made.__dict__.update(
        text="# `relay/front` and `relay/exchange` are named, and `relay/routes` (`OPERATIONS`)"
    )
    monkeypatch.setattr(documents, "sources", lambda: (made,))
    assert list(documents.named_paths()) == [
        "runnerd/one.py:1: there is no relay/front",
        "runnerd/one.py:1: there is no OPERATIONS in relay/routes",
    ]


def test_a_front_page_lists_all_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lists none lists none."""
    page = Source(Path("runnerd/room/__init__.py"))
    module = Source(Path("runnerd/room/here.py"))

    def told(text: str) -> list[str]:
        page.__dict__.update(tree=ast.parse(f'"""{text}"""'))
        monkeypatch.setattr(documents, "sources", lambda: (page, module))
        return list(documents.front_pages())

    assert told("A room.") == []
    assert told("A room.\n\nhere   what it is\n") == []
    assert told("A room.\n\ngone   what it was\n") == [
        "runnerd/room/__init__.py: the list of modules lacks here",
        "runnerd/room/__init__.py: the list of modules has gone, which there is not",
    ]
    assert told("A room.\n\ngone   what it was: `here`\n") == [
        "runnerd/room/__init__.py: the list of modules has gone, which there is not",
    ]
