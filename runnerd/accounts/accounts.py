"""The database and what is kept in it, opened and closed together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from runnerd import tasks
from runnerd.accounts.audit import Audit
from runnerd.accounts.usage import UsageStore
from runnerd.accounts.users import UserStore
from runnerd.database import Database
from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)


class Accounts:
    """Owns the database in a folder: `users`, `usage` and `audit`, from `open` to `close`."""

    def __init__(self, folder: Path, name_of: Callable[[str], str]) -> None:
        """`name_of` says what a model's id is called."""
        self.database = Database(folder)
        self.users = UserStore(self.database)
        self.usage = UsageStore(self.database, name_of)
        self.audit = Audit(self.database)

    async def open(self) -> None:
        """Open what is there.  Raises errors.StartupError only for a newer runnerd's database, or
        another program's: what else is wrong keeps nobody from serving.
        """
        await self.database.open()
        await self.users.open()
        self._counting = tasks.spawn(self.usage.run(), name="usage")

    async def close(self) -> None:
        """Write down what was counted, and close the file."""
        await tasks.cancel_and_wait(self._counting)
        try:
            await self.usage.flush()
        except RunnerdError as error:
            log.warning("the last requests' usage is lost: %s", error.message)
        await self.database.close()
