"""Asking an engine that has no room for a connection yet; leaving one that cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
import time
from collections.abc import Callable

from runnerd.backoff import Backoff
from runnerd.errors import UpstreamTimeout
from runnerd.supervisor import Lease

_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # no fault of the engine
_BACKOFF = Backoff(first=0.001, longest=0.05)  # the engine's queue of connections is full


async def retry_connect(send: Callable[[], None], limit: float) -> None:
    """Call `send` again and again while it raises BlockingIOError.

    Raises errors.UpstreamTimeout when `limit` seconds have passed, and whatever else `send` raises.
    """
    until = time.monotonic() + limit
    for failures in itertools.count(1):
        await asyncio.sleep(_BACKOFF.pause(failures))
        try:
            return send()
        except BlockingIOError:
            if time.monotonic() >= until:
                raise UpstreamTimeout(f"the engine took no request for {limit:g} s") from None


def abandon(lease: Lease, error: OSError) -> bool:
    """Give up a lease of a runner that could not be reached, so that another one takes its place.

    Returns False, and does nothing, where the fault is on this side.
    """
    if error.errno in _OURS:
        return False
    lease.runner.lose(error.strerror or "it does not accept connections")
    lease.release()
    return True


def reach(lease: Lease) -> None:
    """Raise OSError unless somebody listens on a runner's socket; never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as trying:
        with contextlib.suppress(BlockingIOError):  # its queue is full: busy, and there
            trying.connect(str(lease.runner.engine_socket))
