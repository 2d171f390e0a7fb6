"""The fleet's queue as workers see it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from runnerd.errors import LeaseLost, ResultsFull
from runnerd.jobs.fleet.announcements import LOOK_INTERVAL
from runnerd.jobs.fleet.job_codec import encode_response
from runnerd.jobs.fleet.job_parts import FleetParts
from runnerd.jobs.job import AttemptEnd, Job, Response
from runnerd.jobs.queue import Claim, LossListener
from runnerd.jobs.results_limit import results_full


class FleetWork(FleetParts):
    """`queue.Work` over Redis and the journal."""

    async def wait_for_work(self, worker: str) -> None:
        """As in the contract; from time to time it returns without need."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_INTERVAL):
                await self._work.wait(worker)

    async def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        lease: float = 60.0,
        models: Collection[str] | None = None,
    ) -> list[Claim]:
        """As in the contract."""
        self._work.looking(worker)
        wanted = ["all"] if models is None else ["of", *models]
        found = await self._index.call("claim", worker, lease, limit, *wanted)
        tokens = {
            id.decode(): int(token) for id, token in zip(found[::2], found[1::2], strict=True)
        }
        jobs = await self.get(list(tokens))
        return [Claim(job, tokens[job.id], worker) for job in jobs]

    async def extend(self, claim: Claim, lease: float) -> None:
        """As in the contract."""
        await self._counted(claim, "extend", lease)

    def waits(self, claim: Claim, *, waits: bool) -> None:
        """Workers claim what they have slots for, and the site is not told of moments."""

    async def append(self, claim: Claim, output: str, responses: Sequence[Response] = ()) -> None:
        """As in the contract."""
        await self._add(claim, "append", output, responses)

    async def finish(self, claim: Claim, output: str, responses: Sequence[Response]) -> None:
        """As in the contract."""
        await self._add(claim, "complete", output, responses)
        self._handed_in.pop(claim.token, None)
        await self._journal_end(claim.job.id)

    async def _add(
        self, claim: Claim, command: str, output: str, responses: Sequence[Response]
    ) -> None:
        """Say what there was before, so that nothing is added twice or to less than that."""
        length, number = self._handed_in.get(claim.token) or (0, len(claim.job.responses))
        text = output.encode()
        more = map(encode_response, responses)
        most = await self._counted(claim, command, length, number, text, *more)
        if most < 0:
            raise ResultsFull(results_full(-1 - most))
        self._handed_in.note(claim.token, (length + len(text), number + len(responses)))

    async def fail(self, claim: Claim, reason: str, *, retry: bool) -> Job:
        """As in the contract."""
        id, token, end = claim.job.id, str(claim.token), AttemptEnd.FAILED
        if retry:
            counted = await self._try_again(id, token, reason, end)
        else:
            counted = await self._fail(id, token, "", reason, end)
        found = await self.get([id]) if counted else []
        if not found:
            raise _lost(claim)
        return found[0]

    async def release(self, claim: Claim, *, pause: float = 0.0, turns: int = 0) -> None:
        """As in the contract."""
        await self._counted(claim, "release", pause, turns)

    def tell_of_losses(self, listener: LossListener) -> None:
        """As in the contract."""
        self._losses.subscribe(listener)

    async def _counted(self, claim: Claim, command: str, *arguments: str | bytes | float) -> int:
        """Have the script do something for a claim; what it says.  Raises errors.LeaseLost."""
        said = await self._index.call(command, claim.job.id, str(claim.token), *arguments)
        if not said:
            raise _lost(claim)
        return int(said)


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"job {claim.job.id} is not {claim.worker}'s any more")
