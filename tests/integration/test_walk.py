"""The walk of a streamed chat in `docs/architecture.md` is the walk that it takes.

Down to the engine each module is entered once, in the table's order; back likewise, and once the
exchange knows that the response is complete nothing of the engine's side is called again.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

Walk = list[tuple[str, str]]

ROOT = Path(__file__).parents[2]
ENGINE_ASKED = 7  # the step with which the way down ends
SINK = "http_response"
_ROW = re.compile(r"^\| (?P<step>\d+) \| (?P<who>[^|]+) \|", re.MULTILINE)


def steps() -> dict[int, list[str]]:
    """The modules of each step, as the table has them."""
    chapter = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {int(row["step"]): re.findall(r"`(\w+)`", row["who"]) for row in _ROW.finditer(chapter)}


STEPS = steps()
DOWN = [who for step, several in STEPS.items() if step <= ENGINE_ASKED for who in several]
BACK = [who for step, several in STEPS.items() if step > ENGINE_ASKED for who in several]


@pytest.fixture(scope="module")
def walks() -> list[tuple[Walk, Walk]]:
    """The calls down and back: of a request with a new head, and of one with a remembered head."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.walk", *sorted({*DOWN, *BACK})],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[Walk, Walk]] = json.loads(done.stdout)
    return found


def entered(walk: Walk) -> list[str]:
    """The modules in the order of calls; several calls of one after each other are one visit."""
    return [module for module, _ in itertools.groupby(module for module, _ in walk)]


def first_visits(walk: Walk) -> list[str]:
    """The modules in the order in which each was entered first."""
    return list(dict.fromkeys(module for module, _ in walk))


def test_down_once(walks: list[tuple[Walk, Walk]]) -> None:
    """A remembered head goes straight down; the sink hears that a runner is there, and no more."""
    _, (down, _) = walks
    assert [f for module, f in down if module == SINK] == ["placed"]
    assert [module for module, _ in down if module != SINK] == DOWN


def test_down_once_with_a_new_head(walks: list[tuple[Walk, Walk]]) -> None:
    """Head, body and its end are told one after the other, and the head asks for its route."""
    (down, _), _ = walks
    asides = [call for call in down if call[0] == SINK or call[1] == "route"]
    assert [f for _, f in asides] == ["route", "placed"]
    assert entered([call for call in down if call not in asides]) == DOWN


@pytest.mark.parametrize("head", [0, 1])
def test_back_once(walks: list[tuple[Walk, Walk]], head: int) -> None:
    """Each piece goes to the client as it comes; the end is told upwards once."""
    _, back = walks[head]
    assert first_visits(back) == BACK
    assert [f for module, f in back if module == "exchange"] == ["completed"]
    after = first_visits(back[[module for module, _ in back].index("exchange") :])
    assert not {"engine", "engine_connection", "engine_call"} & set(after)
