"""The database and what is kept in it, opened and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from runnerd import tasks
from runnerd.access.principals import user_id
from runnerd.accounts.approvals import ApprovalStore
from runnerd.accounts.audit import Audit, AuditEntry
from runnerd.accounts.logins import LoginStore
from runnerd.accounts.registrations import Registrations
from runnerd.accounts.usage import UsageStore
from runnerd.accounts.users import UserStore
from runnerd.database import Database

NOBODY = "nobody"
_INTERVAL = 5.0  # seconds


class Accounts:
    """Owns the database in a folder, from `open` to `close`: `users`, `logins`, `usage`, `audit`,
    `approvals` and `registrations`.
    """

    def __init__(self, folder: Path, name_of: Callable[[str], str]) -> None:
        """`name_of` says what a model's id is called."""
        self.database = Database(folder)
        self.users = UserStore(self.database)
        self.logins = LoginStore(self.database, self.users)
        self.usage = UsageStore(self.database, name_of, self.called)
        self.audit = Audit(self.database)
        self.approvals = ApprovalStore(self.database, self.users)
        self.registrations = Registrations(self.users)

    def called(self, principal: str) -> str:
        """What people call the principal with this id."""
        user = self.users.directory.user(user_id(principal) or "")
        return (principal or NOBODY) if user is None else user.name

    def audit_pull(self, principal: str, reference: str) -> None:
        """Note who has begun a pull by asking for a model that was not here."""
        who, action = self.called(principal), "download_model"
        entry = AuditEntry(time.time(), principal, who, action, "auto_pull", reference, 202)
        tasks.spawn(self.audit.add(entry), name="audit")

    async def open(self) -> None:
        """Open what is there.  Raises errors.StartupError only for a newer runnerd's database, or
        another program's: what else is wrong keeps nobody from serving.
        """
        await self.database.open()
        await self.users.open()
        await self.logins.open()
        self._keeping = tasks.spawn(self._keep(), name="accounts")

    async def _keep(self) -> None:
        """Write down what has come together, every few seconds."""
        while True:
            await asyncio.sleep(_INTERVAL)
            writing = tasks.spawn(self._write_down(), name="write accounts down")
            if await tasks.outlast(writing):  # called off half-way it would be written twice
                raise asyncio.CancelledError

    async def _write_down(self) -> None:
        await self.usage.flush()
        await self.audit.flush()

    async def close(self) -> None:
        """Write down what has come together, and close the file."""
        await tasks.cancel_and_wait(self._keeping)
        await self._write_down()
        await self.database.close()
