"""The daemon's inference as attempts at jobs ask it, over the daemon's socket.

In the daemon an attempt asks the relay itself; here the same attempt asks the relay through HTTP,
in the background, so that people who wait at this host come first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from runnerd import tasks
from runnerd.access import Principal
from runnerd.errors import Draining, Overloaded, RunnerdError
from runnerd.jobs.fleet.daemon_client import DaemonAway, DaemonClient, TaskRefused
from runnerd.relay.streamed_response import StreamedResponse

_UNREAD_BYTES = 1 << 20

Opened = tuple[int, str, AsyncIterator[bytes]]
"""Status, media type and pieces of a response."""


class RemoteRefusal(RunnerdError):
    """The daemon has refused a prompt, with this status."""

    code = "refused"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RemoteInference:
    """`attempt.Inference` over a client of the daemon."""

    def __init__(self, daemon: DaemonClient) -> None:
        self._daemon = daemon

    @contextlib.asynccontextmanager
    async def streamed(
        self, path: str, body: bytes, principal: Principal, *, background: bool = False
    ) -> AsyncIterator[StreamedResponse]:
        """As the relay's own; the daemon counts it as the job's principal's."""
        response = StreamedResponse(_UNREAD_BYTES)
        may_go_on = asyncio.Event()
        may_go_on.set()

        def flow(paused: bool) -> None:
            if paused:
                may_go_on.clear()
            else:
                may_go_on.set()

        asking = self._daemon.streamed(path, body, on_behalf_of=principal.id)
        carrying = tasks.spawn(_carry(asking, response, may_go_on), name="ask the daemon")

        def cancel() -> None:
            carrying.cancel()

        response.control(flow, cancel)
        try:
            yield response
        finally:
            await tasks.cancel_and_wait(carrying)


async def _carry(
    asking: AbstractAsyncContextManager[Opened],
    response: StreamedResponse,
    may_go_on: asyncio.Event,
) -> None:
    try:
        async with asking as (status, content_type, pieces):
            response.head(
                status,
                content_type.encode(),
                None,
                chunked=False,
                framed=False,
                streams=True,
                warnings=(),
            )
            async for piece in pieces:
                response.piece(piece)
                await may_go_on.wait()
    except RunnerdError as error:
        response.error(_as_attempts_know_it(error), intact=True, warnings=())
    else:
        response.end()


def _as_attempts_know_it(error: RunnerdError) -> RunnerdError:
    if isinstance(error, DaemonAway):
        return Draining(error.message)
    if isinstance(error, TaskRefused) and error.status_told == 429:
        return Overloaded(error.message, retry_after=error.retry_after)
    if isinstance(error, TaskRefused):
        return RemoteRefusal(error.message, error.status_told)
    return error
