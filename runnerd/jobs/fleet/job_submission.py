"""The fleet's queue as those see it who have work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

from runnerd.errors import Conflict, DatabaseFailure, LimitReached, RunnerdError
from runnerd.jobs.fleet.announcements import LOOK_INTERVAL
from runnerd.jobs.fleet.grouping import Grouped
from runnerd.jobs.fleet.job_codec import encode_new, job_of
from runnerd.jobs.fleet.job_parts import FleetParts
from runnerd.jobs.group_summary import GroupSummary, summarized
from runnerd.jobs.job import Job, NewJob, new_id, queued
from runnerd.jobs.queue import Count, Selection, Taken
from runnerd.jobs.results_limit import too_many_results
from runnerd.jobs.sqlite.state import QueueRules

_PAGE = 500
_TOGETHER = 200  # submissions in one entry of the journal

Named = list[tuple[str, NewJob]]
_SOON = 60.0  # seconds until some of too many jobs may have ended


class FleetSubmission(FleetParts):
    """`queue.Submission` over Redis and the journal."""

    def __init__(self, amqp_url: str, redis_url: str, rules: QueueRules, stream: str) -> None:
        super().__init__(amqp_url, redis_url, rules, stream)
        self._submitting: Grouped[Named, list[Job]] = Grouped(self._submit, _TOGETHER)

    async def submit(self, jobs: Sequence[NewJob]) -> list[Job]:
        """As in the contract."""
        allowed = self._rules.allowed(jobs)
        return await self._submitting.do([(job.id or new_id(), job) for job in allowed])

    async def _submit(self, groups: list[Named]) -> list[list[Job] | Exception]:
        """Keep what several callers have submitted; each is told of its own mistakes alone."""
        try:
            kept = await self._keep([pair for group in groups for pair in group])
        except RunnerdError as error:
            if len(groups) == 1 or isinstance(error, DatabaseFailure):
                return [error] * len(groups)
            return [result for group in groups for result in await self._submit([group])]
        return [[kept[id] for id, _ in group] for group in groups]

    async def _keep(self, named: Named) -> dict[str, Job]:
        """Keep jobs, all or none; as they stand then, by id."""
        once: dict[str, NewJob] = {}
        for id, job in named:
            once.setdefault(id, job)
        rules = self._rules
        tries = rules.policy().failures
        docs = {id: encode_new(job, tries) for id, job in once.items()}
        limits = rules.most_open(), rules.most_bytes(), rules.most_results()
        asked = [
            value for id, job in once.items() for value in (id, job.principal.id, len(docs[id]))
        ]
        while True:
            flight = uuid4().hex
            found = await self._index.call("check", flight, *limits, *asked)
            _refuse(found, *limits)
            *states, created = found
            new = {id for id, state in zip(once, states, strict=True) if state == b"new"}
            rows = [_row(id, job, created, docs[id]) for id, job in once.items() if id in new]
            if not rows:
                break
            await self._journal.append({"kind": "submit", "jobs": rows})
            if await self._index.call("insert", flight, *(value for row in rows for value in row)):
                break
        kept = {id: queued(id, once[id], float(created)) for id in new}
        kept |= {job.id: job for job in await self.get([id for id in once if id not in new])}
        return kept

    async def select(self, selection: Selection) -> list[Job]:
        """As in the contract."""
        index, before = _index_of(selection), selection.before
        jobs: list[Job] = []
        while len(jobs) < selection.limit:
            ids = await self._index.newest(index, before, _PAGE)
            records = await self._index.records(ids, whole=False)
            jobs += [
                job
                for record in records
                if _is_wanted(job := job_of(record, whole=False), selection)
            ]
            if len(ids) < _PAGE:
                break
            before = ids[-1]
        return jobs[: selection.limit]

    async def counts(self, *, principal: str | None = None) -> list[Count]:
        """As in the contract."""
        counts = await self._index.counts()
        return [count for count in counts if principal in (None, count.principal)]

    async def taken(self, *, principal: str | None = None) -> Taken:
        """As in the contract."""
        return await self._index.taken(principal)

    async def watch(self, id: str) -> AsyncGenerator[Job, None]:
        """As in the contract."""
        last: Job | None = None
        async with self._announcements.on([f"rj:n:{id}"], LOOK_INTERVAL) as news:
            while True:
                news.clear()
                found = await self.get([id])
                if not found:
                    return
                [job] = found
                if job != last:
                    yield job
                if job.state.ended:
                    return
                last = job
                await news.wait()

    async def cancel(self, id: str) -> Job | None:
        """As in the contract."""
        await self._give_up(id, "cancelled")
        return next(iter(await self.get([id])), None)

    async def summary(self, group: str) -> GroupSummary:
        """As in the contract."""
        return await summarized(
            lambda before, limit: self.select(Selection(group=group, before=before, limit=limit))
        )

    async def cancel_group(self, group: str) -> int:
        """As in the contract."""
        number, before = 0, None
        while ids := await self._index.newest(f"g:{group}", before, _PAGE):
            for id in ids:
                number += await self._give_up(id, "cancelled")
            before = ids[-1]
        return number

    async def retry(self, id: str) -> Job | None:
        """As in the contract."""
        while True:
            flight = uuid4().hex
            if not (undoes := await self._index.call("again", flight, id)):
                break
            await self._journal.append({"kind": "again", "id": id, "undoes": undoes})
            if await self._index.call("undo", flight, id, undoes):
                break
        return next(iter(await self.get([id])), None)

    async def delete(self, ids: Sequence[str]) -> int:
        """As in the contract."""
        while True:
            flight = uuid4().hex
            found = await self._index.call("deleting", flight, *dict.fromkeys(ids))
            if not found:
                return 0
            jobs = list(zip(found[::2], found[1::2], strict=True))
            await self._journal.append({"kind": "delete", "jobs": jobs})
            tokens = await self._index.call("delete", flight, *found)
            if tokens:
                break
        for (id, _), token in zip(jobs, tokens, strict=True):
            if token:
                self._losses.tell(id.decode(), int(token))
        return len(jobs)


def _refuse(found: list[bytes], most_open: int, most_bytes: int, most_results: int) -> None:
    """Raise what `check` has said against jobs, if anything."""
    if found[0] == b"other":
        raise Conflict(f"the id {found[1].decode()} is another job's", param="id")
    if found == [b"full"]:
        raise LimitReached(
            f"{most_open} jobs have not ended; that is as many as one may have",
            limit="open_jobs",
            retry_after=_SOON,
        )
    if found == [b"large"]:
        raise LimitReached(
            f"the prompts of your jobs would take more than the {most_bytes} bytes that they may"
            " take together; delete old ones",
            limit="job_bytes",
        )
    if found == [b"stuffed"]:
        raise too_many_results(most_results)


def _row(id: str, job: NewJob, created: bytes, doc: bytes) -> list[str | bytes | int]:
    """A job as the script takes it; the journal has it in the same form."""
    deadline = "" if job.deadline is None else f"{job.deadline:.6f}"
    return [
        *(id, job.principal.id, job.model, job.priority),
        *(deadline, job.group, created, doc),
    ]


def _index_of(selection: Selection) -> str:
    """The shortest list that has all jobs that may be wanted."""
    if selection.group:
        return f"g:{selection.group}"
    return "all" if selection.principal is None else f"p:{selection.principal}"


def _is_wanted(job: Job, selection: Selection) -> bool:
    return (
        selection.principal in (None, job.principal.id)
        and selection.model in (None, job.model)
        and selection.state in (None, job.state)
        and selection.group in (None, job.group)
    )
