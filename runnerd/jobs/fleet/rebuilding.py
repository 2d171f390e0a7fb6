"""Jobs read from the journal into a Redis that was emptied, or has come back.

Entries are applied in their order, and each does nothing the second time: a rebuild that is broken
off is begun anew, and one may begin well before what is missing.  Jobs that ran go on if Redis
still knows who has them, else they wait again; who has claimed one from the Redis before finds that
its token counts no more.

Each rebuild ends with a *fence* in the journal, with the number of the epoch that begins.  How a
job ends is decided in one epoch and appended then; an end that lies behind the next fence came too
late to be seen by anybody, and does not count.
"""

from __future__ import annotations

import logging

from runnerd.jobs.fleet.journal import Entry, Journal
from runnerd.jobs.fleet.rebuild_access import RebuildAccess

log = logging.getLogger(__name__)


class Rebuilding:
    """Reads the journal when there is need."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def run(self, access: RebuildAccess) -> None:
        """Apply all entries.  Raises errors.DatabaseFailure, or what Redis says."""
        start, last = await access.begin()
        epochs, number = _Epochs(last), 0
        async with self._journal.reading(start) as reader:
            for mark in ("mark", "fence"):
                epochs.next = epochs.highest + 1
                async for entry in reader.up_to({"kind": mark, "epoch": epochs.next}):
                    if epochs.counts(entry):
                        await _apply(access, entry)
                        number += entry.get("kind") not in ("mark", "fence")
            await access.whole(epochs.next, reader.offset)
        if number:
            log.warning(
                "Redis %s: the jobs were rebuilt from %d entries of the journal",
                "was empty" if start is None else "came back",
                number,
            )


class _Epochs:
    """Which entries count."""

    def __init__(self, last: int) -> None:
        self.highest = last
        self.next = last + 1
        self._now = 0

    def counts(self, entry: Entry) -> bool:
        number = entry.get("epoch")
        if not isinstance(number, int):
            return True
        self.highest = max(self.highest, number)
        is_late = number < self._now
        self._now = max(self._now, number)
        return not is_late


async def _apply(access: RebuildAccess, entry: Entry) -> None:
    match entry.get("kind"):
        case "submit":
            await access.call("insert", *(value for job in entry["jobs"] for value in job))
        case "ends":
            for end in entry["ends"]:
                attempts, responses = end["attempts"], end["responses"]
                said = [end[name] for name in ENDED]
                await access.call("restore", *said, len(attempts), *attempts, *responses)
        case "again":
            await access.call("undo", entry["id"], entry["undoes"])
        case "delete":
            await access.call("delete", *(value for pair in entry["jobs"] for value in pair))
        case "prompt":
            await access.call("prompt", *(entry[name] for name in TAKEN))
        case "result":
            await access.call("result", *(entry[name] for name in RESULT))


ENDED = (
    *("id", "created", "token", "state", "ended", "reason", "started", "output"),
    *("worker", "given_back"),
)
"""What an entry says of how a job has ended, in the order in which the script takes it."""
TAKEN = ("id", "principal", "since", "kept", "doc")
RESULT = ("id", "token", "at", "kept", "doc")
"""The same, of a prompt of ProtoLLM that was taken in, and of its result."""
