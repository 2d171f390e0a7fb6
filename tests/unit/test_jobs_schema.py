"""Databases with jobs of an older daemon, brought up to date."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec

from runnerd.access import user_principal
from runnerd.database import Database, jobs_schema, migrations
from runnerd.jobs.job import NewJob, Prompt, chosen_id, new_id
from runnerd.jobs.queue import Selection
from runnerd.jobs.sqlite.queue import SqliteQueue

ANN, BEN = user_principal("ann", "key"), user_principal("ben", "key")
PROMPT = Prompt("/v1/completions", b"{}")
CREATED = time.time()
RANDOM = "7f0d3c2b9a4e4d1f8b6a5c4d3e2f1a0b"  # as programs choose them, by `uuid4().hex`
BEFORE = migrations.STEPS.index(jobs_schema.OWN_IDS_STEP)


def older(connection: sqlite3.Connection, version: int) -> None:
    """Bring an empty database to an older version."""
    for step in migrations.STEPS[:version]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")


def as_before(file: Path, *ids: tuple[str, str, str]) -> None:
    """A database of the version before ids were each user's own, with jobs of Ann's."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        older(connection, BEFORE)
        for id, group, state in ids:
            added = connection.execute(
                "INSERT INTO jobs (id, principal, owner, model, state, created, priority, rank,"
                " grp, copy, streams, details, token, attempts, reason) VALUES (?, ?, ?, 'm', ?, ?,"
                " 0, 1, ?, 0, 0, '{}', 0, '[]', '')",
                (id, ANN.id, msgspec.json.encode(ANN).decode(), state, CREATED, group),
            )
            connection.execute(
                "INSERT INTO job_prompts (seq, prompts) VALUES (?, ?)", (added.lastrowid, b"\x90")
            )


async def test_ids_become_each_users_own(tmp_path: Path) -> None:
    """Those that users have chosen, and no others; submitted again it is the same job."""
    generated, batch = new_id(), new_id()
    derived, line = "protollm-0123", f"{batch}-00001"
    database = Database(tmp_path)
    as_before(
        database.path,
        ("mine", "", "queued"),
        ("batch_x", "", "completed"),
        ("A" * 32, "", "queued"),
        (RANDOM, "", "queued"),
        (generated, "", "queued"),
        (derived, "protollm-1", "completed"),
        (line, f"batch_{batch}", "queued"),
    )
    queue = SqliteQueue(database)
    await database.open()
    assert database.problem is None
    chosen = [chosen_id(ANN.id, id) for id in ("mine", "batch_x", "A" * 32, RANDOM)]
    found = await queue.get([*chosen, generated, derived, line], principal=ANN.id)
    assert [job.id for job in found] == [*chosen, generated, derived, line]
    assert not any(job.waited_for for job in found)
    for id in chosen:
        again = NewJob(ANN, "m", (PROMPT,), id)
        assert (await queue.submit([again]))[0].created == CREATED
    other = NewJob(BEN, "m", (PROMPT,), chosen_id(BEN.id, "mine"), waited_for=True)
    assert (await queue.submit([other]))[0].created > CREATED
    assert (await queue.get([other.id]))[0].waited_for
    assert sum(count.number for count in await queue.counts(principal=ANN.id)) == 7
    await database.close()


async def test_models_of_the_hub_get_their_one_spelling(tmp_path: Path) -> None:
    """In jobs, in how many there are, and in sessions; other names stay."""
    database = Database(tmp_path)
    spelled = {
        "hf.co/Org/M": "huggingface.co/org/m",
        "huggingface.co/org/m:latest": "huggingface.co/org/m",
        "HF.co/Org/M:Q4_K_M": "huggingface.co/org/m:Q4_K_M",
        "www.huggingface.co/org/M:Q4_K_M": "huggingface.co/org/m:Q4_K_M",
        "team/hf.co": "team/hf.co",
        "Tiny": "Tiny",
    }
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        older(connection, migrations.STEPS.index(jobs_schema.SPELLING_STEP))
        for number, model in enumerate(spelled):
            connection.execute(
                "INSERT INTO jobs (id, principal, owner, model, state, created, priority, rank,"
                " grp, copy, streams, details, token, attempts, reason)"
                " VALUES (?, ?, ?, ?, 'queued', 1, 0, 1, '', 0, 0, '{}', 0, '[]', '')",
                (str(number), ANN.id, msgspec.json.encode(ANN).decode(), model),
            )
            connection.execute(
                "INSERT INTO sessions VALUES (?, '', '', ?, '', '', '', '', '', 0, 0, 0, 0, 0)",
                (str(number), model),
            )
    queue = SqliteQueue(database)
    await database.open()
    assert database.problem is None
    jobs = await queue.select(Selection())
    assert [job.model for job in reversed(jobs)] == list(spelled.values())
    assert {count.model: count.number for count in await queue.counts()} == Counter(
        spelled.values()
    )
    read = await database.read(
        lambda connection: connection.execute(
            "SELECT model_name FROM sessions ORDER BY id"
        ).fetchall()
    )
    assert [name for (name,) in read] == list(spelled.values())
    await database.close()
