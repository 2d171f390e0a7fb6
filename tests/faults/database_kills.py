"""`python -m tests.faults.database_kills FOLDER SEED ROUNDS`: a writer that is killed, again and
again, and what it has left.

Each round forks a daemon's worth of changes to users, keys and what users ask the owner for.  It is
killed with SIGKILL: in odd rounds by itself, before a random statement that SQLite is about to
carry out, from the first one that makes the database to the last one of a checkpoint; in even
rounds from outside, at any moment.
What is there afterwards must be what it has acknowledged, and at most the one change that was under
way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from runnerd.access.approvals import ApprovalKind, ApprovalState
from runnerd.access.permissions import Permission
from runnerd.access.users import User
from runnerd.accounts import audit as audits
from runnerd.accounts.approvals import ApprovalStore
from runnerd.accounts.audit import Audit, AuditEntry
from runnerd.accounts.users import UserStore
from runnerd.database import Database, writer
from runnerd.tasks import spawn


class Kept(NamedTuple):
    """What is kept of a user: `labels` of its keys by age, and what it has asked for, by age."""

    disabled: bool = False
    labels: tuple[str, ...] = ()
    may: frozenset[str] = frozenset()
    asked: tuple[tuple[str, str], ...] = ()  # a permission, and the state of the request


State = dict[str, Kept]  # by name

KINDS = ("add", "add", "key", "edit", "rotate", "remove", "restore", "ask", "ask", "decide")
_CHANGES = 60  # of one round, if nothing kills it
_STATEMENTS = 400


def planned(seed: int, state: State) -> list[tuple[str, str, str]]:
    """What a round does: a kind of change, a user, a label."""
    chance, now, found = random.Random(seed), dict(state), []
    for number in range(_CHANGES):
        kind = chance.choice(KINDS)
        name = chance.choice(sorted(now)) if now else ""
        if kind == "add" or not name:
            kind, name = "add", f"user{seed}x{number}"
        change = kind, name, f"{seed}.{number}"
        now = after(now, change)
        found.append(change)
    return found


def after(state: State, change: tuple[str, str, str]) -> State:
    """The state that a change makes of another one."""
    kind, name, label = change
    new = dict(state)
    if kind == "restore":  # a copy of what there is
        return new
    if kind == "remove":
        del new[name]
        return new
    kept = new.get(name, Kept())
    if kind == "edit":
        kept = kept._replace(disabled=not kept.disabled)
    elif kind == "rotate":  # the oldest one: the new one has its label and is the newest
        kept = kept._replace(labels=(*kept.labels[1:], *kept.labels[:1]))
    elif kind == "ask":
        if (permission_of(label), "pending") not in kept.asked:
            kept = kept._replace(asked=(*kept.asked, (permission_of(label), "pending")))
    elif kind == "decide":
        kept = decided(kept, label)
    else:
        kept = kept._replace(labels=(*kept.labels, label))
    new[name] = kept
    return new


def permission_of(label: str) -> str:
    """What is asked for."""
    return list(Permission)[sum(label.encode()) % len(Permission)]


def decision_of(label: str) -> ApprovalState:
    """What is decided: two of three are accepted."""
    return ApprovalState.REJECTED if sum(label.encode()) % 3 == 0 else ApprovalState.ACCEPTED


def decided(kept: Kept, label: str) -> Kept:
    """What the decision on the oldest request that waits makes of a user."""
    for number, (permission, state) in enumerate(kept.asked):
        if state == "pending":
            decision = decision_of(label)
            asked = (*kept.asked[:number], (permission, decision.value), *kept.asked[number + 1 :])
            accepted = decision is ApprovalState.ACCEPTED
            return kept._replace(asked=asked, may=frozenset({permission}) if accepted else kept.may)
    return kept


async def carry_out(database: Database, store: UserStore, change: tuple[str, str, str]) -> None:
    """Make a change."""
    kind, name, label = change
    if kind == "restore":
        async with database.copy() as copy:
            await database.restore(copy)
    elif kind == "add":
        await store.add(User("", name, frozenset()), label=label)
    elif kind == "key":
        await store.add_key(name, label=label)
    elif kind == "edit":
        await store.edit(name, disabled=not store.user(name).disabled)
    elif kind == "rotate":
        if keys := store.directory.keys_of(store.user(name).id):
            await store.rotate(keys[0].id)
    elif kind == "remove":
        await store.remove(name)
    else:
        await ask_or_decide(ApprovalStore(database, store, clock=time.monotonic), store, change)


async def ask_or_decide(
    approvals: ApprovalStore, store: UserStore, change: tuple[str, str, str]
) -> None:
    """Ask for a permission, or decide on the oldest request that waits."""
    kind, name, label = change
    id = store.user(name).id
    if kind == "ask":
        await approvals.ask(id, ApprovalKind.PERMISSIONS, {"may": [permission_of(label)]})
        return
    waiting = await approvals.approvals(user_id=id, state=ApprovalState.PENDING, limit=1000)
    if waiting:
        oldest = min(waiting, key=lambda each: each.created)
        accepted = decision_of(label) is ApprovalState.ACCEPTED
        await (approvals.accept if accepted else approvals.reject)(oldest.id, "owner")


async def state_of(database: Database, store: UserStore) -> State:
    """What there is."""
    directory, approvals = store.directory, ApprovalStore(database, store)
    found: State = {}
    for user in directory.users():
        labels = tuple(key.label for key in directory.keys_of(user.id))
        asked = await approvals.approvals(user_id=user.id, limit=1000)
        asked.sort(key=lambda each: each.created)
        states = tuple((each.details["may"][0], each.state.value) for each in asked)
        found[user.name] = Kept(user.disabled, labels, frozenset(user.permissions), states)
    return found


async def opened(folder: Path) -> tuple[Database, UserStore]:
    """The database in a folder, which must be sound."""
    database = Database(folder)
    store = UserStore(database, clock=time.monotonic)
    await database.open()
    await store.open()
    assert database.problem is None, database.problem
    return database, store


async def write(folder: Path, changes: list[tuple[str, str, str]], told: int) -> None:
    """Make changes, and a crowd of entries of the audit beside them; tell each that is done."""
    database, store = await opened(folder)
    audit = Audit(database)

    async def note(text: str) -> None:
        await audit.add(AuditEntry(0.0, "p", "who", "act", "", text, 200))
        os.write(told, f"audit {text}\n".encode())

    for change in changes:
        entries = [spawn(note(f"{change[2]}.{n}"), name="audit") for n in range(5)]
        await carry_out(database, store, change)
        os.write(told, b"change\n")
        await asyncio.gather(*entries)
    await database.close()


def dying(folder: Path, changes: list[tuple[str, str, str]], told: int, at: int) -> None:
    """Write until statement `at`, and be killed before it is carried out; 0: until the end."""
    count = 0

    def look(statement: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(look)
        return connection

    if at:
        sqlite3.connect = watched  # type: ignore[assignment]
    writer._WAL_BYTES = 64 * 2**10  # checkpoints are part of it
    audits._WAIT = 100.0  # an entry that is told of is there
    asyncio.run(write(folder, changes, told))


def one_round(folder: Path, state: State, seed: int) -> tuple[State, int]:
    """Let a writer be killed; the state that is there then, and how much was acknowledged."""
    chance = random.Random(-seed)
    changes = planned(seed, state)
    readable, told = os.pipe()
    at = chance.randrange(1, _STATEMENTS) if seed % 2 else 0
    if (child := os.fork()) == 0:
        os.close(readable)
        try:
            dying(folder, changes, told, at)
        finally:
            os._exit(0)
    os.close(told)
    if not at:
        time.sleep(chance.random() * 0.3)
        os.kill(child, signal.SIGKILL)
    with open(readable) as lines:
        done = lines.read().split("\n")
    os.waitpid(child, 0)
    return asyncio.run(looked_at(folder, state, changes, done)), len(done)


async def looked_at(
    folder: Path, state: State, changes: list[tuple[str, str, str]], done: list[str]
) -> State:
    """Hold what is there against what was acknowledged; return it."""
    acknowledged = done.count("change")
    for change in changes[:acknowledged]:
        state = after(state, change)
    possible = [state]
    if acknowledged < len(changes):
        possible.append(after(state, changes[acknowledged]))
    database, store = await opened(folder)
    found = await state_of(database, store)
    entries = {each.entry.subject for each in await Audit(database).entries(limit=10**6)}
    missing = {line.removeprefix("audit ") for line in done if line[:5] == "audit"} - entries
    assert not missing, f"entries that were acknowledged are lost: {missing}"
    await database.close()
    assert found in possible, f"after {acknowledged} changes:\n{found}\n{possible}"
    return found


def main() -> None:
    """Run rounds; the last line says how many changes were acknowledged in all."""
    folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    state: State = {}
    total = 0
    for number in range(rounds):
        if number % 10 == 0:  # begin anew: a kill may also come while the file is made
            for file in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
            state = {}
        state, count = one_round(folder, state, seed + number)
        total += count
    print(total)


if __name__ == "__main__":
    main()
