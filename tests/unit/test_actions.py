"""The words that permissions are given for (`access.actions`), and how decisions are carried out
(`supervisor.actions`).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from runnerd.access.actions import Action
from runnerd.supervisor.actions import Actions
from tests.support.waiting import until


def test_each_action_is_explained_once() -> None:
    """In the table of the class, which people read when they choose one for a route."""
    table = [line for line in (Action.__doc__ or "").splitlines() if line.strip().startswith("| ")]
    words = re.findall(r"[A-Z][A-Z_]+", " ".join(line.split("|")[1] for line in table))
    assert sorted(words) == sorted(action.name for action in Action)


def test_a_value_is_its_name() -> None:
    """The audit and errors show values."""
    assert all(action.value == action.name.lower() for action in Action)


class Scheduler:
    """Decides something at its one deadline."""

    def __init__(self) -> None:
        self.deadline: float | None = None

    def next_deadline(self) -> float | None:
        return self.deadline

    def tick(self, now: float) -> list[Any]:
        self.deadline = None
        return ["late"]


async def test_what_is_decided_meanwhile_is_done_afterwards() -> None:
    """Never within another decision, and in order; also after one that failed."""
    done: list[Any] = []

    def act(decision: Any) -> None:
        if decision == "fails":
            raise ValueError
        done.append(decision)
        if decision == "first":
            actions.act_on(cast(Any, ["third"]))
            done.append("end of the first")

    actions = Actions(cast(Any, Scheduler()), act)
    actions.carry_out(cast(Any, ["first", "second"]))
    assert done == ["first", "end of the first", "second", "third"]
    try:
        actions.act_on(cast(Any, ["fails", "later"]))
    except ValueError:
        actions.act_on([])
    assert done[-1] == "later"
    actions.close()


async def test_a_deadline_is_kept() -> None:
    """Whoever says that there is one need not know which is the next."""
    done: list[Any] = []
    scheduler = Scheduler()
    actions = Actions(cast(Any, scheduler), done.append)
    actions.wake_by(None)
    scheduler.deadline = asyncio.get_running_loop().time() + 0.001
    actions.wake_by(scheduler.deadline)
    await until(lambda: done)
    assert done == ["late"]
    actions.close()
