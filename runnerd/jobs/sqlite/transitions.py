"""How a job's row goes from one state to the next.

Each function is a part of a transaction; those that a worker calls check its token and raise
errors.LeaseLost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from runnerd.database import Connection
from runnerd.errors import LeaseLost, ResultsFull
from runnerd.jobs.job import Attempt, AttemptEnd, JobState, Response
from runnerd.jobs.queue import Claim
from runnerd.jobs.results_limit import results_full
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite import rows

_SOME = 500  # rows that one transaction changes at most


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended from outside, and the token that counts no more, if it was running."""

    id: str
    token: int | None


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: a worker, and the opening of the database in which it does."""

    worker: str
    epoch: str


def claim(
    connection: Connection,
    claimant: Claimant,
    limit: int,
    models: Collection[str] | None,
    now: float,
    most_results: int,
) -> tuple[list[Claim], list[Ended]]:
    """Let a worker have the next jobs.

    Tokens are not less than the time in milliseconds, so that none is given twice where a backup
    was restored.

    Whoever has as many bytes of results as `most_results` gets no more: those jobs fail.
    """
    connection.execute(
        "UPDATE jobs SET due = NULL WHERE state = 'queued' AND due IS NOT NULL AND due <= ?",
        (now,),
    )
    claims, ended = [], []
    for seq, turn in _next(connection, limit, models):
        connection.execute("UPDATE job_clock SET served = max(served, ?)", (turn,))
        id, principal = connection.execute(
            "SELECT id, principal FROM jobs WHERE seq = ?", (seq,)
        ).fetchone()
        if rows.result_bytes(connection, principal) >= most_results:
            _end(connection, seq, JobState.FAILED, now, results_full(most_results))
            ended.append(Ended(id, None))
            continue
        (token,) = connection.execute(
            "UPDATE jobs SET state = 'running', token = max(token + 1, ?), worker = ?, epoch = ?,"
            " started = ? WHERE seq = ? RETURNING token",
            (int(now * 1000), claimant.worker, claimant.epoch, now, seq),
        ).fetchone()
        rows.forget_output(connection, seq)
        claims.append(Claim(rows.whole(connection, seq), token, claimant.worker))
    return claims, ended


def _next(
    connection: Connection, limit: int, models: Collection[str] | None
) -> list[tuple[int, int]]:
    """Rows and turns of the jobs that are next, of all models or of some."""
    select = "SELECT rank, seq, priority FROM jobs WHERE state = 'queued' AND due IS NULL"
    if models is None:
        found = connection.execute(f"{select} ORDER BY rank, seq LIMIT ?", (limit,)).fetchall()
    else:
        found = []
        for model in models:
            found += connection.execute(
                f"{select} AND model = ? ORDER BY rank, seq LIMIT ?", (model, limit)
            )
        found = sorted(found)[:limit]
    return [(seq, rank + rows.HEAD_START * priority) for rank, seq, priority in found]


def next_due(connection: Connection) -> float | None:
    """When the next of those that were tried may be tried again."""
    found = connection.execute(
        "SELECT min(due) FROM jobs WHERE state = 'queued' AND due IS NOT NULL"
    )
    due = found.fetchone()[0]
    return None if due is None else float(due)


def append(
    connection: Connection,
    claim: Claim,
    output: str,
    responses: Sequence[Response],
    most_results: int,
) -> int:
    """Add to what came of a job; its row.  Raises errors.ResultsFull."""
    seq = check(connection, claim)
    rows.add_output(connection, seq, output, responses)
    if rows.result_bytes(connection, claim.job.principal.id) > most_results:
        raise ResultsFull(results_full(most_results))
    return seq


def finish(
    connection: Connection,
    claim: Claim,
    output: str,
    responses: Sequence[Response],
    now: float,
    most_results: int,
) -> None:
    """A job has completed.  Raises errors.ResultsFull."""
    seq = append(connection, claim, output, responses, most_results)
    _end(connection, seq, JobState.COMPLETED, now)


def fail(
    connection: Connection,
    claim: Claim,
    attempt: Attempt,
    policy: RetryPolicy,
    *,
    retry: bool,
) -> float | None:
    """An attempt came to nothing; when the job is tried again, None: it has failed."""
    seq = check(connection, claim)
    return _again(connection, seq, claim.job.attempts, attempt, policy if retry else None)


def _again(
    connection: Connection,
    seq: int,
    before: Sequence[Attempt],
    attempt: Attempt,
    policy: RetryPolicy | None,
) -> float | None:
    attempts = (*before, attempt)
    pause = None if policy is None else policy.pause(attempts)
    connection.execute(
        "UPDATE jobs SET attempts = ? WHERE seq = ?",
        (rows.encode_attempts(attempts).decode(), seq),
    )
    if pause is None:
        _end(connection, seq, JobState.FAILED, attempt.ended, attempt.reason)
        return None
    due = attempt.ended + pause
    _requeue(connection, seq, due if pause else None)
    return due


def release(connection: Connection, claim: Claim, due: float | None, turns: int) -> None:
    """Give a job back, as if nobody had taken it, so many turns later in the order."""
    seq = check(connection, claim)
    _requeue(connection, seq, due)
    connection.execute(
        "UPDATE jobs SET rank = rank + ?, given_back = given_back + 1 WHERE seq = ?", (turns, seq)
    )


def _requeue(connection: Connection, seq: int, due: float | None) -> None:
    connection.execute("UPDATE jobs SET state = 'queued', due = ? WHERE seq = ?", (due, seq))


def check(connection: Connection, claim: Claim) -> int:
    """The row of a job that is still a worker's.  Raises errors.LeaseLost."""
    row = connection.execute(
        "SELECT seq FROM jobs WHERE id = ? AND token = ? AND state = 'running'",
        (claim.job.id, claim.token),
    ).fetchone()
    if row is None:
        raise lost(claim)
    return int(row[0])


def lost(claim: Claim) -> LeaseLost:
    """A worker comes too late."""
    return LeaseLost(f"job {claim.job.id} is not this worker's any more (token {claim.token})")


def cancel(connection: Connection, where: str, value: str, now: float) -> list[Ended]:
    """End jobs that have not ended; `where` selects them by one `value`."""
    return _end_open(connection, f"{where} AND ended IS NULL", value, JobState.CANCELLED, now)


def expire(connection: Connection, now: float) -> list[Ended]:
    """End jobs whose deadline has passed."""
    where = "deadline IS NOT NULL AND ended IS NULL AND deadline <= ?"
    return _end_open(connection, f"{where} LIMIT {_SOME}", now, JobState.EXPIRED, now)


def _end_open(
    connection: Connection, where: str, value: object, state: JobState, now: float
) -> list[Ended]:
    found = connection.execute(
        f"SELECT seq, id, token, state FROM jobs WHERE {where}", (value,)
    ).fetchall()
    reason = {JobState.CANCELLED: "cancelled", JobState.EXPIRED: "its deadline has passed"}[state]
    for seq, *_ in found:
        _end(connection, seq, state, now, reason)
    return [Ended(id, token if was == "running" else None) for _, id, token, was in found]


def _end(connection: Connection, seq: int, state: JobState, now: float, reason: str = "") -> None:
    connection.execute(
        "UPDATE jobs SET state = ?, ended = ?, due = NULL, reason = ? WHERE seq = ?",
        (state, now, reason, seq),
    )


def retry(connection: Connection, id: str, now: float) -> bool:
    """Queue a job again that has ended without completing; whether it was."""
    row = connection.execute(
        "SELECT seq, principal, priority FROM jobs WHERE id = ?"
        " AND state IN ('failed', 'cancelled', 'expired')",
        (id,),
    ).fetchone()
    if row is None:
        return False
    seq, principal, priority = row
    rank = rows.rank_of(rows.next_turn(connection, principal), priority)
    connection.execute(
        "UPDATE jobs SET state = 'queued', attempts = '[]', reason = '', started = NULL,"
        " ended = NULL, worker = NULL, given_back = 0, due = NULL, rank = ?,"
        " deadline = iif(deadline <= ?, NULL, deadline)"
        " WHERE seq = ?",
        (rank, now, seq),
    )
    rows.forget_output(connection, seq)
    rows.forget_responses(connection, seq)
    return True


def delete(connection: Connection, ids: Sequence[str]) -> list[Ended]:
    """Remove jobs, however they stand."""
    gone, seqs = [], []
    for id in dict.fromkeys(ids):
        row = connection.execute(
            "SELECT seq, token, state FROM jobs WHERE id = ?", (id,)
        ).fetchone()
        if row is not None:
            seqs.append(row[0])
            gone.append(Ended(id, row[1] if row[2] == "running" else None))
    rows.delete(connection, seqs)
    return gone


def sweep(connection: Connection, ended_before: float) -> int:
    """Remove some jobs that ended before a time, and what nobody needs any more; how many."""
    found = connection.execute(
        "SELECT seq FROM jobs WHERE ended IS NOT NULL AND ended < ? LIMIT ?",
        (ended_before, _SOME),
    ).fetchall()
    rows.delete(connection, [seq for (seq,) in found])
    connection.execute("DELETE FROM job_counts WHERE number = 0")
    connection.execute("DELETE FROM job_bytes WHERE bytes = 0")
    connection.execute("DELETE FROM job_result_bytes WHERE bytes = 0")
    connection.execute("DELETE FROM job_turns WHERE turn <= (SELECT served FROM job_clock)")
    return len(found)


def recover(connection: Connection, epoch: str, policy: RetryPolicy, now: float) -> None:
    """Queue again what was claimed in another opening of the database: its workers are gone."""
    found = connection.execute(
        "SELECT seq FROM jobs WHERE state = 'running' AND epoch != ?", (epoch,)
    ).fetchall()
    for (seq,) in found:
        lose(connection, seq, "the daemon ended while it ran", policy, now)
    # A clock that was set back must not let them wait for long for what was a moment.
    latest = now + policy.backoff.longest
    connection.execute(
        "UPDATE jobs SET due = ? WHERE state = 'queued' AND due IS NOT NULL AND due > ?",
        (latest, latest),
    )


def lose_claim(
    connection: Connection, claim: Claim, reason: str, policy: RetryPolicy, now: float
) -> None:
    """A worker was not heard of any more.  Raises errors.LeaseLost where that is no news."""
    lose(connection, check(connection, claim), reason, policy, now)


def lose(connection: Connection, seq: int, reason: str, policy: RetryPolicy, now: float) -> None:
    """The worker of a running job is gone."""
    job = rows.whole(connection, seq)
    (worker,) = connection.execute("SELECT worker FROM jobs WHERE seq = ?", (seq,)).fetchone()
    attempt = Attempt(worker or "", job.started or now, now, AttemptEnd.LOST, reason)
    _again(connection, seq, job.attempts, attempt, policy)
