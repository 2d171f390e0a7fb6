"""The output of a job that runs, handed to the queue piece by piece.

The first piece at once, so that whoever watches sees it begin, and what comes then together: a
change of the queue waits for the disk, and tokens come faster.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runnerd.jobs.job import Response
from runnerd.jobs.queue import Claim, Work

_PAUSE = 0.25  # seconds between two changes


class Output:
    """Collects the text of a claim's job, and what was not handed in yet of it."""

    def __init__(self, queue: Work, claim: Claim) -> None:
        self._queue = queue
        self._claim = claim
        self._texts: list[str] = []
        self._next = 0.0  # when it may be handed in again

    def add(self, text: str) -> None:
        """More text."""
        if text:
            self._texts.append(text)

    def due_in(self) -> float | None:
        """Seconds until what is here is to be handed in, None: there is nothing."""
        if not self._texts or not self._claim.job.streams:
            return None
        return max(0.0, self._next - time.monotonic())

    def take(self) -> str:
        """What was not handed in yet, for whoever hands it in now."""
        text = "".join(self._texts)
        self._texts.clear()
        return text

    async def flush(self, responses: Sequence[Response] = ()) -> None:
        """Hand in what is here, and the responses of prompts that are done.  Raises
        errors.LeaseLost.
        """
        await self._queue.append(self._claim, self.take(), responses)
        self._next = time.monotonic() + _PAUSE
