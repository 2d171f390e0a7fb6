"""Requests for a model that is on its way: they wait for it and are then answered as usual.

A model is expected while a pull for it is under way; where the owner allows it, the first request
that names a missing model begins one.  Waiting is bounded in number and in time, and whoever waits
leaves the pull alone when it goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from runnerd.access import Principal
from runnerd.config import Settings
from runnerd.errors import InvalidReference, Overloaded
from runnerd.models.reference import Reference
from runnerd.pulls.asker import Asker
from runnerd.pulls.pulling import Pulls
from runnerd.pulls.transfer_tasks import Subscription

_RETRY_AFTER = 30.0  # seconds

Wait = Callable[[], Awaitable[None]]
"""Waits until a model is here.  Raises the pull's error, and errors.Overloaded after the time."""


@dataclass(slots=True)
class PendingModels:
    """Who waits for which pull: `queue_length` at once at most, each `queue_timeout` at most.

    `began` is told who has begun a pull of what, by asking for a model that was not here.
    """

    pulls: Pulls
    settings: Settings
    began: Callable[[Principal, str], None] = lambda principal, reference: None
    waiting: int = 0

    def expect(
        self, reference: str, check: Callable[[], None], *, puller: Asker | None
    ) -> Wait | None:
        """How to wait for a missing model; None if it is not coming.  `puller` is who asks, None
        for somebody who may not begin a pull.

        Before anything is pulled or waited for, `check` raises for a request that no model would
        answer.  Raises errors.Overloaded when too many wait.
        """
        job = self.pulls.fetching(reference)
        if not self.settings.auto_pull or not _can_be_pulled(reference):
            puller = None
        if job is None and puller is None:
            return None
        check()
        if self.waiting >= self.settings.queue_length:
            raise Overloaded(
                "too many requests wait for models that are being pulled", retry_after=_RETRY_AFTER
            )
        if job is not None:
            subscription = Subscription(job)
        else:
            assert puller is not None
            subscription = self.pulls.pull(reference, asker=puller)
            if subscription.began:  # else it is somebody's under another name
                self.began(puller.principal, reference)
        return lambda: self._wait(subscription, reference)

    async def _wait(self, subscription: Subscription, reference: str) -> None:
        """Wait until the model is here.  Raises the pull's error, and Overloaded after the time."""
        self.waiting += 1
        try:
            async with asyncio.timeout(self.settings.queue_timeout):
                await subscription.result()
        except TimeoutError:
            job = subscription.job
            raise Overloaded(
                f"model {reference!r} is still being pulled: {job.current} of {job.total} bytes"
                " are here (queue_timeout)",
                retry_after=_RETRY_AFTER,
            ) from None
        finally:
            self.waiting -= 1


def _can_be_pulled(reference: str) -> bool:
    try:
        return Reference.parse(reference).digest is None
    except InvalidReference:
        return False
