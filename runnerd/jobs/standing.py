"""Jobs are asked as whoever submitted them stands when they run, not as it stood then.

A user's key may have been rotated meanwhile; whoever has no key that counts any more is refused as
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from runnerd.access import Principal
from runnerd.jobs.attempt import Inference
from runnerd.relay.streamed_response import StreamedResponse


class AsTheyStand:
    """Inference for principals as `now` knows them."""

    def __init__(self, inference: Inference, now: Callable[[Principal], Principal]) -> None:
        self._inference = inference
        self._now = now

    def streamed(
        self, path: str, body: bytes, principal: Principal, *, background: bool = False
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """As `Inference` has it."""
        return self._inference.streamed(path, body, self._now(principal), background=background)
