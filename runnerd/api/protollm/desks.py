"""Where prompts are handed in and results asked for."""

from __future__ import annotations

from typing import Protocol

from runnerd.access import Principal
from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel
from runnerd.jobs.fleet.protollm.result_keys import Outcome


class Ticket(Protocol):
    """A prompt that was handed in."""

    async def outcome(self) -> Outcome:
        """Wait until the prompt's job is over."""
        ...


class Desk(Protocol):
    """Takes prompts.  A job is known by whose it is and by the `job_id` that its client chose."""

    @property
    def published(self) -> frozenset[str]:
        """The names of the queues that there are by themselves."""
        ...

    async def submit(
        self,
        principal: Principal,
        prompt: ChatCompletionModel,
        *,
        model: str | None,
        queue: str,
        waited_for: bool,
    ) -> Ticket:
        """Take a prompt; return once it will survive a power cut.

        `waited_for`: its client waits for the outcome, and does not ask for it later.
        """
        ...

    async def find(self, principal: Principal, job_id: str) -> Outcome | None:
        """How a job stands, None if there is none."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...
