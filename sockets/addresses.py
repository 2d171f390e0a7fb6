"""What listeners listen on, for people and for checks."""

from __future__ import annotations

import socket
from collections.abc import Sequence


def tcp_addresses(listeners: Sequence[socket.socket]) -> list[str]:
    """The addresses that are listened on with TCP, without ports."""
    return [each.getsockname()[0] for each in listeners if each.family != socket.AF_UNIX]


def address_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Where a listener is reached: `unix:///run/x.sock`, `http://[::1]:8080`."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix://{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"
