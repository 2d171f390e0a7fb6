"""Why a runner failed.

Whatever a backend raises, at whatever moment, is a failure with a reason: a third party's code may
raise anything, and somebody has to be told, and must not be told at once again and again.
"""

from __future__ import annotations

import asyncio
import logging
import math

from runnerd.backends.interface import EngineFailure
from runnerd.errors import UpstreamTimeout

log = logging.getLogger(__name__)


class EngineHang(EngineFailure):
    """An engine that is in use has stopped to answer anything.

    It has given no sign of life since `silent_since` (monotonic), if it is known.
    """

    silent_since = math.inf

    status = UpstreamTimeout.status
    code = "engine_hang"


class EngineUnreachable(EngineFailure):
    """An engine that lives and that nobody can connect to any more."""


def unforeseen(error: BaseException, *, runner: str, backend: str, loading: bool) -> EngineFailure:
    """The failure to tell of an error that nobody foresaw, whose traceback goes to the log.

    `runner` and `backend` are names for people, `loading` says that the engine never was ready.
    """
    kind = type(error).__name__
    detail = error.strerror if isinstance(error, OSError) else str(error)
    known = isinstance(error, OSError | asyncio.CancelledError)
    level = logging.WARNING if known else logging.ERROR
    log.log(level, "runner %s: %s", runner, kind, exc_info=None if known else error)
    failure = EngineFailure(
        f"backend {backend} failed: {kind}{f': {detail}' if detail else ''}",
        exit_reason="an error of the backend",
        loading=loading,
    )
    failure.__cause__ = error
    return failure
