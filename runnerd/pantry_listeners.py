"""The sockets at which Pantry's programs look for it; what is served there is what is served
everywhere.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from runnerd.config import Settings
from runnerd.pantry_settings import PantrySettings
from runnerd.relay import listening
from runnerd.sockets.listeners import listen_tcp, parse_listen
from runnerd.upkeep import ControlSocket


def pantry_socket(settings: PantrySettings) -> ControlSocket:
    """Pantry's Unix socket, not yet open."""
    return ControlSocket(settings.socket, mode=settings.socket_mode, group=None)


def pantry_listeners(
    settings: Settings, unix: ControlSocket, there: Sequence[socket.socket]
) -> list[socket.socket]:
    """Listen where Pantry does, but for what is among `there`: systemd may have opened it.

    Raises errors.StartupError.
    """
    found: list[socket.socket] = []
    names = [each.getsockname() for each in there]
    if str(unix.path) not in names:
        found.append(unix.open())
    if settings.pantry.listen:
        host, port = parse_listen(settings.pantry.listen)
        if port == 0 or port not in [name[1] for name in names if isinstance(name, tuple)]:
            refusal = listening.remote_refusal(settings)
            found += listen_tcp(host, port, remote_refusal=refusal)
    return found
