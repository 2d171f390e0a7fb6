"""Jobs as rows of the database: what is submitted, and what is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from runnerd.access import Principal
from runnerd.database import Connection
from runnerd.jobs.group_summary import GroupSummary
from runnerd.jobs.job import Attempt, Job, JobState, NewJob, Prompt, Response
from runnerd.jobs.queue import Count, Selection, Taken

HEAD_START = 16  # turns that a step of priority is worth, as in the scheduler's queue

_COLUMNS = (
    "seq, id, owner, model, state, created, priority, deadline, runtime, grp, copy, streams,"
    " details, started, ended, attempts, reason, waited_for, worker, given_back"
)
_PROMPTS = msgspec.msgpack.Decoder(tuple[Prompt, ...])
_ATTEMPTS = msgspec.json.Decoder(tuple[Attempt, ...])
_OWNER = msgspec.json.Decoder(Principal)
_DETAILS = msgspec.json.Decoder(dict[str, str])
_OPEN = ("queued", "running")

encode_attempts = msgspec.json.encode


def next_turn(connection: Connection, principal: str) -> int:
    """A place in the line for one more job of a principal: behind its last one, and not before
    anybody who is served now (start-time fair queueing, as in the scheduler).
    """
    found = connection.execute(
        "INSERT INTO job_turns (principal, turn) SELECT ?, served + 1 FROM job_clock WHERE true"
        " ON CONFLICT (principal) DO UPDATE SET turn = max(turn, excluded.turn - 1) + 1"
        " RETURNING turn",
        (principal,),
    )
    return int(found.fetchone()[0])


def rank_of(turn: int, priority: int) -> int:
    """By which jobs are claimed: a priority is a head start of so many turns."""
    return turn - HEAD_START * priority


def insert(connection: Connection, id: str, new: NewJob, created: float) -> None:
    """Add a job whose id is free."""
    principal = new.principal
    rank = rank_of(next_turn(connection, principal.id), new.priority)
    added = connection.execute(
        "INSERT INTO jobs (id, principal, owner, model, state, created, priority, rank, deadline,"
        " runtime, grp, copy, streams, details, token, attempts, reason,"
        " waited_for)"
        " VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '[]', '', ?)",
        (
            id,
            principal.id,
            msgspec.json.encode(principal).decode(),
            new.model,
            created,
            new.priority,
            rank,
            new.deadline,
            new.runtime,
            new.group,
            new.copy,
            new.streams,
            msgspec.json.encode(dict(new.details)).decode(),
            new.waited_for,
        ),
    )
    connection.execute(
        "INSERT INTO job_prompts (seq, prompts) VALUES (?, ?)",
        (added.lastrowid, msgspec.msgpack.encode(new.prompts)),
    )


def owner_of(connection: Connection, id: str) -> str | None:
    """The principal (its id) whose job has this id."""
    row = connection.execute("SELECT principal FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def open_jobs(connection: Connection, principal: str) -> int:
    """How many jobs of a principal have not ended."""
    found = connection.execute(
        "SELECT coalesce(sum(number), 0) FROM job_counts WHERE principal = ? AND state IN (?, ?)",
        (principal, *_OPEN),
    )
    return int(found.fetchone()[0])


def prompt_bytes(connection: Connection, principal: str) -> int:
    """How much the prompts of a principal's jobs take that are kept."""
    row = connection.execute("SELECT bytes FROM job_bytes WHERE principal = ?", (principal,))
    found = row.fetchone()
    return 0 if found is None else int(found[0])


def result_bytes(connection: Connection, principal: str) -> int:
    """How much the output and responses of a principal's jobs take that are kept."""
    row = connection.execute("SELECT bytes FROM job_result_bytes WHERE principal = ?", (principal,))
    found = row.fetchone()
    return 0 if found is None else int(found[0])


def taken(connection: Connection, principal: str | None) -> Taken:
    """How much the jobs of a principal take, or all."""
    sums = [
        connection.execute(
            f"SELECT coalesce(sum(bytes), 0) FROM {table} WHERE ? IS NULL OR principal = ?",
            (principal, principal),
        ).fetchone()[0]
        for table in ("job_bytes", "job_result_bytes")
    ]
    return Taken(*sums)


def find(connection: Connection, ids: Iterable[str]) -> list[Job]:
    """Whole jobs, in the order of their ids; what there is not is left out."""
    found = []
    for id in ids:
        row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone()
        if row is not None:
            found.append(_whole(connection, row))
    return found


def whole(connection: Connection, seq: int) -> Job:
    """The job of a row."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE seq = ?", (seq,)).fetchone()
    return _whole(connection, row)


def select(connection: Connection, selection: Selection, waiting: Sequence[str] = ()) -> list[Job]:
    """Jobs without what they ask and got, the newest first.

    Those that are `waiting` (their ids) count as queued while they are running here.
    """
    wanted = {
        "principal = ?": selection.principal,
        "model = ?": selection.model,
        "grp = ?": selection.group,
        "seq < (SELECT seq FROM jobs WHERE id = ?)": selection.before,
    }
    said = {clause: value for clause, value in wanted.items() if value is not None}
    where = " AND ".join([*said, _of_state(selection.state, len(waiting))])
    states = () if selection.state is None else (selection.state, *waiting)
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY seq DESC LIMIT ?",
        (*said.values(), *states, selection.limit),
    )
    return [_job(row) for row in found]


def _of_state(state: JobState | None, waiting: int) -> str:
    if state is None:
        return "true"
    these = f"id IN ({', '.join('?' * waiting)}) AND state = 'running'"
    if state is JobState.QUEUED:
        return f"(state = ? OR {these})"
    return f"state = ? AND NOT ({these})"


def counts(connection: Connection, principal: str | None) -> list[Count]:
    """How many jobs there are of each kind."""
    found = connection.execute(
        "SELECT principal, model, state, number FROM job_counts"
        " WHERE number > 0 AND (? IS NULL OR principal = ?) ORDER BY principal, model, state",
        (principal, principal),
    )
    return [Count(who, model, JobState(state), number) for who, model, state, number in found]


def summary(connection: Connection, group: str) -> GroupSummary:
    """How the jobs of a group stand."""
    states: dict[JobState, int] = {}
    last: float | None = None
    found = connection.execute(
        "SELECT state, count(*), max(ended) FROM jobs WHERE grp = ? AND grp != '' GROUP BY state",
        (group,),
    )
    for state, number, ended in found:
        states[JobState(state)] = number
        last = ended if last is None else max(last, ended or last)
    return GroupSummary(states, last)


def add_output(
    connection: Connection, seq: int, output: str, responses: Sequence[Response]
) -> None:
    """Add to what came of a job so far."""
    if output:
        connection.execute("INSERT INTO job_output (seq, text) VALUES (?, ?)", (seq, output))
    if responses:
        connection.executemany(
            "INSERT INTO job_responses (seq, status, content_type, body) VALUES (?, ?, ?, ?)",
            [(seq, each.status, each.content_type, each.body) for each in responses],
        )


def forget_output(connection: Connection, seq: int) -> None:
    """Let another attempt write its own output."""
    connection.execute("DELETE FROM job_output WHERE seq = ?", (seq,))


def forget_responses(connection: Connection, seq: int) -> None:
    """Let a job be asked all over again."""
    connection.execute("DELETE FROM job_responses WHERE seq = ?", (seq,))


def delete(connection: Connection, seqs: Collection[int]) -> None:
    """Remove jobs and all that belongs to them."""
    for table in ("job_output", "job_responses", "job_prompts", "jobs"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", [(seq,) for seq in seqs])


def _whole(connection: Connection, row: tuple[Any, ...]) -> Job:
    seq = row[0]
    prompts = connection.execute("SELECT prompts FROM job_prompts WHERE seq = ?", (seq,))
    output = connection.execute("SELECT text FROM job_output WHERE seq = ? ORDER BY id", (seq,))
    responses = connection.execute(
        "SELECT status, body, content_type FROM job_responses WHERE seq = ? ORDER BY id", (seq,)
    )
    return _job(
        row,
        _PROMPTS.decode(prompts.fetchone()[0]),
        "".join(text for (text,) in output),
        tuple(Response(*response) for response in responses),
    )


def _job(
    row: tuple[Any, ...],
    prompts: tuple[Prompt, ...] = (),
    output: str = "",
    responses: tuple[Response, ...] = (),
) -> Job:
    (
        _,
        id,
        owner,
        model,
        state,
        created,
        priority,
        deadline,
        runtime,
        group,
        copy,
        streams,
        details,
        started,
        ended,
        attempts,
        reason,
        waited_for,
        worker,
        given_back,
    ) = row
    return Job(
        id,
        _OWNER.decode(owner),
        model,
        JobState(state),
        created,
        prompts,
        priority,
        deadline,
        runtime,
        group,
        copy,
        bool(streams),
        _DETAILS.decode(details),
        started,
        ended,
        _ATTEMPTS.decode(attempts),
        reason,
        output,
        responses,
        bool(waited_for),
        worker or "",
        given_back,
    )
