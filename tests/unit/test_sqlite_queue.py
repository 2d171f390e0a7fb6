"""The queue in the daemon's database keeps what every queue promises, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.database import Connection
from runnerd.errors import LimitReached
from runnerd.jobs.job import JobState, NewJob, Prompt
from runnerd.jobs.queue import Selection
from tests.support.job_queue import SqliteHost
from tests.support.queue_suite import *  # noqa: F403
from tests.support.queue_suite import ANN, BOB, GOOD, claimed, found, new, submitted


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SqliteHost]:
    host = SqliteHost(tmp_path)
    await host.open()
    yield host
    await host.close()


@pytest.mark.parametrize("days", [1, -1])
async def test_a_clock_that_jumps_before_a_restart(host: SqliteHost, days: int) -> None:
    """Nothing waits for a day because of it."""
    retried, waits = await submitted(host, new(), new())
    await host.queue.fail(await claimed(host), "no luck", retry=True)
    host.now += days * 86400.0
    await host.restart()
    assert (await claimed(host, lease=1000)).job.id == (waits.id if days < 0 else retried.id)
    await host.pass_time(61)
    assert len(await host.queue.claim("w", limit=5)) == 1


async def test_a_restored_backup(host: SqliteHost) -> None:
    """A worker that had a job before a backup was restored cannot write to it."""
    [job] = await submitted(host, new())
    copies = host.database.new_copy_path()
    async with host.database.copy() as copy:
        copies.write_bytes(copy.read_bytes())
    late = await claimed(host)
    lost: list[tuple[str, int]] = []
    host.queue.tell_of_losses(lambda id, token: lost.append((id, token)))
    await host.database.restore(copies)
    host.now += 1
    claim = await claimed(host)
    assert claim.token > late.token
    assert lost == [(job.id, late.token)]
    await host.queue.finish(claim, "", [GOOD])
    assert (await found(host, job.id)).state is JobState.COMPLETED


async def test_too_many_bytes(host: SqliteHost) -> None:
    """Prompts of one principal take so much at most, those of jobs that have ended, too."""
    large = Prompt("/v1/chat/completions", b"x" * 4000)
    first, _ = await host.queue.submit([NewJob(ANN, "m", (large,), id=id) for id in "ab"])
    with pytest.raises(LimitReached, match=r"jobs\.bytes"):
        await host.queue.submit([NewJob(ANN, "m", (large,))])
    assert await host.queue.submit([NewJob(ANN, "m", (large,), id="a")]) == [first]  # is there
    await host.queue.submit([NewJob(BOB, "m", (large,))])
    await host.queue.cancel("a")
    await host.restart()
    with pytest.raises(LimitReached):
        await host.queue.submit([NewJob(ANN, "m", (large,))])
    assert len(await host.queue.select(Selection(ANN.id))) == 2  # what was refused is not there
    await host.queue.delete(["a"])
    await host.queue.submit([NewJob(ANN, "m", (large,))])


async def test_jobs_whose_results_would_not_fit_fail_when_their_turn_comes(
    host: SqliteHost,
) -> None:
    """No engine works for them; whoever watches is told, and others' jobs behind them are next."""
    [_, job, *_] = await submitted(host, *(new(priority=1) for _ in range(5)))
    await submitted(host, new(principal=BOB))
    claim = await claimed(host)
    await host.queue.finish(claim, "x" * host.MOST_RESULTS, [])
    while not (claims := await host.queue.claim("w")):
        await host.queue.wait_for_work("w")
    [claim] = claims
    assert claim.job.principal == BOB
    failed = await found(host, job.id)
    assert (failed.state, failed.attempts) == (JobState.FAILED, ())
    assert "jobs.result_bytes" in failed.reason


async def test_nothing_is_left(host: SqliteHost) -> None:
    """Of what was kept for long enough no row stays in any table."""
    await submitted(host, new(prompts=2))
    claim = await claimed(host)
    await host.queue.append(claim, "a", [GOOD])
    await host.queue.finish(claim, "b", [GOOD])
    await host.pass_time(2 * 86400)

    def rows(connection: Connection) -> dict[str, int]:
        told = "jobs job_prompts job_output job_responses job_counts job_turns job_bytes"
        tables = [*told.split(), "job_result_bytes"]
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in tables
        }

    assert set((await host.database.read(rows)).values()) == {0}


async def test_claims_look_at_an_index(host: SqliteHost) -> None:
    """What is done for each job has an index for it, and sorts nothing."""

    def plans(connection: Connection) -> list[str]:
        ready = "state = 'queued' AND due IS NULL"
        return [
            str(row[3])
            for statement in (
                f"SELECT rank, seq FROM jobs WHERE {ready} ORDER BY rank, seq LIMIT 1",
                f"SELECT rank, seq FROM jobs WHERE {ready} AND model = 'm'"
                " ORDER BY rank, seq LIMIT 1",
                "SELECT min(due) FROM jobs WHERE state = 'queued' AND due IS NOT NULL",
                "SELECT seq FROM jobs WHERE state = 'running' AND epoch != 'x'",
                "SELECT seq FROM jobs WHERE deadline IS NOT NULL AND ended IS NULL"
                " AND deadline <= 1 LIMIT 500",
                "SELECT seq FROM jobs WHERE ended IS NOT NULL AND ended < 1 LIMIT 500",
            )
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]

    for plan in await host.database.read(plans):
        assert "INDEX" in plan, plan
