"""How RabbitMQ is asked for anything: in a task of its own, for a limited time.

aiormq cancels whoever waits for a frame when a connection is lost, and uses `asyncio.wait_for`,
which before Python 3.12 forgets a cancellation that comes in the same moment as a result.  So what
the libraries do is done in a task that nobody else cancels: if that one is cancelled the connection
was lost, and whoever is cancelled while it waits is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aio_pika.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    DeliveryError,
)

from runnerd import tasks
from runnerd.errors import RunnerdError

T = TypeVar("T")

CALL_SECONDS = 10.0
"""For one call: a broker that hangs counts as lost."""
_END_SECONDS = 1.0  # for what was called off


class BrokerLost(ConnectionError):
    """The connection was lost while something was under way; whether it was done is not known."""


class Unconfirmed(ConnectionError):
    """The broker did not take a message: it has no leader, no memory or no disk at the moment."""


class WrongQueue(RunnerdError):
    """A queue that exists was declared in another way than ours has to be."""

    code = "wrong_queue"


async def ask(what: Coroutine[Any, Any, T], *, seconds: float = CALL_SECONDS) -> T:
    """The result of a call of the library.  Raises BrokerLost, Unconfirmed, WrongQueue.

    Of a call that is cancelled the result may be lost: what must not be belongs to something that
    the caller has.
    """
    call = tasks.spawn(what, name="ask the broker", quiet=True)
    try:
        done, _ = await asyncio.wait([call], timeout=seconds)
    except asyncio.CancelledError:
        await _call_off(call)
        raise
    if not done:
        await _call_off(call)
        raise BrokerLost(f"no response within {seconds:g} s")
    if call.cancelled():
        raise BrokerLost("the connection was lost")
    error = call.exception()
    if error is None:
        return call.result()
    raise _told(error) from error


async def _call_off(call: asyncio.Task[Any]) -> None:
    """End a call, also one that forgets that it was cancelled."""
    call.cancel()
    await asyncio.wait([call], timeout=_END_SECONDS)


def _told(error: BaseException) -> BaseException:
    """What the library raises, in our words."""
    if isinstance(error, DeliveryError):
        return Unconfirmed("the broker did not confirm a message")
    if isinstance(error, ChannelPreconditionFailed):
        return WrongQueue(f"a queue cannot be used: {error}")
    if isinstance(error, (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)):
        return BrokerLost(str(error) or type(error).__name__)
    return error
