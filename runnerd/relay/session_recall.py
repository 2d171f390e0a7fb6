"""What a runner is given back of a session before it is asked, and what it has used of it after.

Models that serve no session pay one look for it.
"""

from __future__ import annotations

from runnerd.relay.leasing import RunnersSessions
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.runner import Runner


def must_recall(states: RunnersSessions, runner: Runner, plan: Plan) -> bool:
    """Whether a runner has to be given what was kept of a session before it is asked the next
    prompt, or others have to be saved before it is asked anything.
    """
    return bool(plan.session or runner in states.lives) and states.awaits(runner, plan.session)


def note_use(states: RunnersSessions, runner: Runner, plan: Plan, record: RequestRecord) -> None:
    """A runner that has sessions may have to save some, now that it has evaluated something."""
    if runner in states.lives and record.counts is not None:
        used = record.usage
        tokens = (used.prompt or 0) + (used.generated or 0)
        states.served(runner, plan.session or record.id, tokens)
