"""TCP ports for servers that cannot be given a socket, and which addresses this host has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a port of 127.0.0.1 for the length of a with block.

    A port that was only free a moment ago may be another process's by the time that the server
    binds it.  One that we are bound to and do not listen on is given to no other, but to a server
    that sets SO_REUSEADDR, as those of Go and systemd do.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def has_ipv6() -> bool:
    """Whether ::1 is there: a kernel may know IPv6 and have it switched off."""
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True
