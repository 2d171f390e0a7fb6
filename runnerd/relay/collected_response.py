"""A response that is kept in memory, for somebody in the daemon who has no connection."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from runnerd.errors import BackendFailure, RunnerdError


class Collected(NamedTuple):
    """A whole response."""

    status: int
    content_type: bytes
    body: bytes
    warnings: tuple[str, ...]


class CollectedResponse:
    """A ResponseSink that keeps what comes, `most` bytes of it; more is an error."""

    wants_signs_of_life = False

    def __init__(self, most: int) -> None:
        self._most = most
        self._result: asyncio.Future[Collected] = asyncio.get_running_loop().create_future()
        self._begun: tuple[int, bytes, tuple[str, ...]] | None = None
        self._body = bytearray()
        self._too_large = False

    @property
    def begun(self) -> bool:
        return self._begun is not None

    async def result(self) -> Collected:
        """Wait for the response.  Raises what the exchange failed with."""
        return await self._result

    def unread_bytes(self) -> int:
        return 0

    def waiting(self, *, streams: bool) -> None: ...

    def placed(self) -> None: ...

    def head(
        self,
        status: int,
        content_type: bytes,
        length: int | None,
        *,
        chunked: bool,
        framed: bool,
        streams: bool,
        warnings: tuple[str, ...],
    ) -> bool:
        self._begun = status, content_type, warnings
        return False

    def piece(self, data: bytes) -> None:
        self._too_large = self._too_large or len(self._body) + len(data) > self._most
        if not self._too_large:
            self._body += data

    def end(self) -> None:
        assert self._begun is not None
        status, content_type, warnings = self._begun
        self.whole(status, content_type, bytes(self._body), warnings)

    def whole(
        self, status: int, content_type: bytes, body: bytes, warnings: tuple[str, ...]
    ) -> None:
        if self._too_large or len(body) > self._most:
            self._fail(BackendFailure(f"the response exceeds {self._most} bytes"))
        elif not self._result.done():
            self._result.set_result(Collected(status, content_type, body, warnings))

    def error(self, error: RunnerdError, *, intact: bool, warnings: tuple[str, ...]) -> None:
        self._fail(error)

    def gone(self) -> None:
        self._result.cancel()

    def _fail(self, error: RunnerdError) -> None:
        if not self._result.done():
            self._result.set_exception(error)
