"""Jobs read from the journal into a Redis that was emptied.

Entries are applied in their order, and each does nothing the second time: a rebuild that is broken
off is begun anew.  Jobs that ran wait again; who has claimed one from the Redis before finds that
its token counts no more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runnerd.jobs.fleet.journal import Entry, Journal

if TYPE_CHECKING:
    from runnerd.jobs.fleet.job_index import JobIndex

log = logging.getLogger(__name__)


class Rebuilding:
    """Reads the journal when there is need."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def run(self, index: JobIndex) -> None:
        """Apply all entries.  Raises errors.DatabaseFailure."""
        number = 0
        async for entry in self._journal.replay():
            await _apply(index, entry)
            number += 1
        if number:
            log.warning("Redis was empty: the jobs were rebuilt from %d entries", number)


async def _apply(index: JobIndex, entry: Entry) -> None:
    match entry.get("kind"):
        case "submit":
            await index.call("insert!", *(value for job in entry["jobs"] for value in job))
        case "ends":
            for end in entry["ends"]:
                attempts, responses = end["attempts"], end["responses"]
                said = [end[name] for name in ("state", "ended", "reason", "started", "output")]
                await index.call("restore!", end["id"], *said, len(attempts), *attempts, *responses)
        case "again":
            await index.call("again!", entry["id"])
        case "delete":
            for id in entry["ids"]:
                await index.call("delete!", id)
