"""Steps of an exchange that take waiting, in a task of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runnerd import tasks
from runnerd.errors import InternalError, RunnerdError

log = logging.getLogger(__name__)

Steps = Callable[[], Awaitable[None]]


def take_steps(steps: Steps, failed: Callable[[RunnerdError], None], id: str) -> asyncio.Task[None]:
    """Take steps of the exchange with this id in a task; `failed` is told whatever goes wrong."""
    return tasks.spawn(_take(steps, failed, id), name=f"exchange {id}")


async def _take(steps: Steps, failed: Callable[[RunnerdError], None], id: str) -> None:
    try:
        await steps()
    except RunnerdError as error:
        failed(error.with_traceback(None))  # it would refer to the exchange
    except Exception:
        log.exception("exchange %s failed", id)
        failed(InternalError())
