"""The rule against circles of modules sees them, however an import is written."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.rules import circles as rule
from tests.rules.sources import Source

A = "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"


def source(name: str, text: str) -> Source:
    """Make a module of a text."""
    made = Source(Path(f"runnerd/{name}.py"))
    made.__dict__["tree"] = ast.parse(text)
    return made


@pytest.mark.parametrize(
    "back",
    [
        "import runnerd.one",
        "from runnerd.one import X",
        "from runnerd import one",
        f"{A}if TYPE_CHECKING:\n    from runnerd.one import X",
        "def f():\n    from runnerd.one import X",
    ],
)
def test_a_circle_is_seen(monkeypatch: pytest.MonkeyPatch, back: str) -> None:
    """For types alone and inside functions, too; who only uses its members is none of them."""
    found = (
        source("one", "from runnerd.two import Y"),
        source("two", "import runnerd.three"),
        source("three", back),
        source("user", "from runnerd.one import X"),
    )
    monkeypatch.setattr(rule, "sources", lambda: found)
    [sentence] = rule.circles()
    assert sentence.endswith("runnerd.one, runnerd.three, runnerd.two")


def test_there_is_none() -> None:
    """In the sources as they are."""
    assert list(rule.circles()) == []
