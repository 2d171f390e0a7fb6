"""What was used: requests and tokens by principal, model and day.

A request that has ended costs one append; its counts are read and added up once some have come
together, and written down every few seconds.  So what a killed daemon loses is those seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runnerd import tasks
from runnerd.accounts import usage_rows as rows
from runnerd.accounts.usage_rows import Counts, UsageKey, Used
from runnerd.database import Connection, Database
from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)

DAY = 86400
KEPT_DAYS = 400

_TOGETHER = 64  # requests that wait to be added up
_MOST_KEYS = 10_000  # principals, models and days in memory at once; the rest is added up as one


_Counted = dict[tuple[int, str, str], Counts]  # by day, principal and model


class Tokens(Protocol):
    """Tokens of one response; None: the engine did not say."""

    @property
    def prompt(self) -> int | None: ...
    @property
    def generated(self) -> int | None: ...


class EndedRequest(Protocol):
    """What is counted of a request."""

    @property
    def model(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def started_at(self) -> float: ...
    @property
    def usage(self) -> Tokens: ...


@dataclass(frozen=True, slots=True)
class Period:
    """Days since 1970 in UTC, both included; of one principal's id or of all."""

    first: int
    last: int
    principal: str | None = None


class UsageStore:
    """Counts requests, and keeps the counts."""

    def __init__(
        self,
        database: Database,
        name_of: Callable[[str], str],
        called: Callable[[str], str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`name_of` says what a model's id is called, `called` a principal's; `clock` Unix time."""
        self._database = database
        self._name_of = name_of
        self._called = called
        self._clock = clock
        self._ended: list[tuple[str, EndedRequest]] = []
        self._counts: _Counted = {}
        self._writing = asyncio.Lock()
        self._failing = False

    def ended(self, principal: str, request: EndedRequest) -> None:
        """Count a request, of the principal with this id, that has ended."""
        self._ended.append((principal, request))
        if len(self._ended) >= _TOGETHER:
            self._add_up()

    def _add_up(self) -> None:
        ended, self._ended = self._ended, []
        latest, counts = None, Counts()
        for principal, request in ended:
            model = request.model
            if not model:
                continue  # it was refused before it was known what it wants
            key = int(request.started_at // DAY), principal, model
            if key != latest:  # mostly several of one kind come one after the other
                latest, counts = key, self._counts_of(*key)
            counts.requests += 1
            if request.status >= 400 or request.error is not None:
                counts.failures += 1
            tokens = request.usage
            counts.prompt_tokens += tokens.prompt or 0
            counts.completion_tokens += tokens.generated or 0

    def _counts_of(self, day: int, principal: str, model: str) -> Counts:
        counts = self._counts.get((day, principal, model))
        if counts is not None:
            return counts
        if len(self._counts) >= _MOST_KEYS:
            principal = rows.OTHERS
        return self._counts.setdefault((day, principal, model), Counts())

    async def flush(self) -> None:
        """Write down what was counted.  What cannot be written stays counted."""
        async with self._writing:
            self._add_up()
            counted, self._counts = self._counts, {}
            if counted:
                await tasks.uninterrupted(self._write(counted), name="usage")

    async def _write(self, counted: _Counted) -> None:
        written = {UsageKey(*key): counts for key, counts in counted.items()}
        models = {key.model: self._name(key.model) for key in written}
        who = {key.principal: self._called(key.principal) for key in written}
        oldest = int(self._clock() // DAY) - KEPT_DAYS

        def work(connection: Connection) -> None:
            rows.add(connection, written, who, models)
            rows.forget_before(connection, oldest)

        try:
            await self._database.write(work)
        except RunnerdError as error:
            for key, counts in counted.items():
                self._counts.setdefault(key, Counts()).include(counts)
            if not self._failing:
                log.warning("usage is counted, but cannot be written: %s", error.message)
            self._failing = True
        else:
            self._failing = False

    def _name(self, model: str) -> str:
        try:
            return self._name_of(model)
        except RunnerdError:
            return model  # it is gone, or of a backend that keeps its models itself

    async def used(self, by: str, period: Period) -> list[Used]:
        """What was used, `by` "user", "model" or "day", most tokens or latest day first.

        Raises errors.DatabaseFailure.
        """
        await self.flush()
        return await self._database.read(
            lambda connection: rows.report(
                connection, by, period.first, period.last, period.principal
            )
        )

    async def tokens_of_today(self) -> dict[str, int]:
        """The tokens that each principal has used today (UTC), as far as they were written down.

        For limits by day, at the daemon's start.
        """
        today = int(self._clock() // DAY)
        try:
            return await self._database.read(lambda connection: rows.tokens(connection, today))
        except RunnerdError:
            return {}
