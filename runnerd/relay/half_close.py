"""Clients that have shut down their writing side: whether they still want their response.

A client may say that it has nothing more to send, and read on (`nc -N`, `shutdown(SHUT_WR)`).  One
that has left looks the same at first over TCP: the end of its bytes has come, in both cases.

    who                    how it is told apart
    left, Unix socket      the kernel says so at once (POLLHUP): a closed socket takes nothing
    left, TCP              its host answers whatever we send with a reset (POLLERR)
    half-closed            neither

So a client over TCP is sent something: the next piece of its stream, or, where nothing of the
response was sent yet, an interim response, which every client of HTTP/1.1 passes over (RFC 9110,
15.2).  HTTP/1.0 knows none; there the kernel asks, with keep-alive probes, which a host that has
forgotten the connection resets: after about a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable

_FIRST_LOOK = 0.02  # seconds: on this host the reset is there by then
_LONGEST_PAUSE = 1.0
_PROBES = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))  # seconds, twice


def has_left(transport: asyncio.Transport) -> bool:
    """Say whether the other side takes nothing any more, as far as the kernel knows."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    return bool(poll.poll(0))  # POLLHUP and POLLERR are told unasked


class HalfClosed:
    """Looks after one such client: calls `probe` once, soon, to send it something if nothing else
    was sent, and `left` once it is found to have left.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        probe: Callable[[], None],
        left: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._probe: Callable[[], None] | None = probe
        self._left: Callable[[], None] | None = left
        self._pause = _FIRST_LOOK
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)
        _keep_alive(transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        """Look no more.  Idempotent."""
        self._probe = self._left = None
        self._timer.cancel()

    def _look(self) -> None:
        left = self._left
        if left is None or self._transport.is_closing():
            return
        if has_left(self._transport):
            left()
            return
        probe, self._probe = self._probe, None
        if probe is not None:
            probe()
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)


def _keep_alive(descriptor: int) -> None:
    """Have the kernel ask a TCP client from time to time whether it is still there."""
    endpoint = socket.socket(fileno=descriptor)
    try:
        if endpoint.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for name, value in _PROBES:
                    endpoint.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    finally:
        endpoint.detach()
