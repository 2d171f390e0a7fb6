"""What the daemon tells the service manager (sd_notify(3)).

A datagram that never blocks and never raises: the daemon serves whether or not somebody listens to
how it is.  What could not be sent because the manager was busy goes out with the next message, so
that a READY=1 is late, not lost.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

_STATUS_BYTES = 1024  # systemd drops datagrams above 4096 bytes
_ADDRESS_BYTES = 107
_LONGEST = 86400.0  # of one extension, in seconds


class Notifier:
    """The line to the manager that started us; without NOTIFY_SOCKET every method does nothing.

    Takes NOTIFY_SOCKET and WATCHDOG_* out of `environ`: a child must not speak for us.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog_seconds(
            environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        )
        self._unsent: dict[str, str] = {}
        # Opened now and kept: a daemon out of descriptors must still say that it is alive.
        self._socket = _open() if self._address else None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two `watchdog()` calls: half of what is allowed, None: not asked."""
        return self._watchdog / 2 if self._watchdog and self._socket else None

    def ready(self, status: str = "") -> None:
        """Say that clients are served from now on."""
        self._send(READY="1", **({"STATUS": _one_line(status)} if status else {}))

    def stopping(self) -> None:
        """Say that the daemon is going away."""
        self._send(STOPPING="1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(STATUS=_one_line(text))

    def watchdog(self) -> None:
        """Say that the event loop turns."""
        self._send(WATCHDOG="1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for `seconds` more, from now, to start or to stop."""
        self._send(EXTEND_TIMEOUT_USEC=str(int(min(max(0.0, seconds), _LONGEST) * 1e6)))

    def close(self) -> None:
        """Say nothing any more.  Idempotent."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, **fields: str) -> None:
        if not self._socket or not self._address:
            return
        self._unsent |= fields
        message = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        try:
            # Not connected: the manager may have replaced its socket when it was upgraded.
            self._socket.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            log.debug("could not notify the service manager: %s", error)
        else:
            self._unsent.clear()


def _address(text: str) -> bytes | None:
    """Return the address to send to; a leading @ stands for the NUL of an abstract one."""
    encoded = os.fsencode(text)
    if not encoded:
        return None
    if encoded[:1] not in (b"/", b"@") or not 1 < len(encoded) <= _ADDRESS_BYTES:
        log.warning("cannot notify the service manager at NOTIFY_SOCKET=%r", text)
        return None
    return b"\0" + encoded[1:] if encoded[:1] == b"@" else encoded


def _open() -> socket.socket | None:
    try:
        notifying = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError as error:
        log.warning("cannot notify the service manager: %s", error.strerror)
        return None
    notifying.setblocking(False)
    return notifying


def _watchdog_seconds(usec: str, pid: str) -> float | None:
    if pid and pid != str(os.getpid()):
        return None
    if not (usec.isascii() and usec.isdigit() and len(usec) < 20):
        return None
    return int(usec) / 1e6 or None


def _one_line(text: str) -> str:
    """Keep a status from becoming a second field or an oversized datagram."""
    line = " ".join(text.replace("\0", " ").split())
    return line.encode("utf-8", "replace")[:_STATUS_BYTES].decode("utf-8", "ignore")
