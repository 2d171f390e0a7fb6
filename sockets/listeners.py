"""Opening the sockets that clients connect to.

A Unix socket is never reachable with more rights than were asked for, not even between bind() and
chmod(); a TCP socket never leaves loopback unless the owner said so in every word that it takes.
Every failure names the address and what to do.
"""

from __future__ import annotations

import errno
import grp
import ipaddress
import logging
import os
import re
import socket
from pathlib import Path

from runnerd.errors import StartupError
from runnerd.sockets.paths import check_path_length, remove_stale

log = logging.getLogger(__name__)

BACKLOG = 1024
_PORT_ATTEMPTS = 16
_ADDRESS = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?\]|[^:\[\]]*):(?P<port>[0-9]{1,5})"
)
# What getaddrinfo() gives: family and socket address.
_Address = tuple[socket.AddressFamily, tuple[object, ...]]
_LOOPBACK_ALONE = "other machines can reach it; listen on 127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")


class UnixListener(socket.socket):
    """A listening Unix socket that remembers which file it made."""

    __slots__ = ("bound",)
    bound: tuple[int, int, int] | None  # device, inode, ctime in ns


def listen_unix(
    path: Path, *, mode: int, group: str | None, backlog: int = BACKLOG
) -> UnixListener:
    """Return a non-blocking socket that listens on `path` with `mode` and `group` (a name or gid).

    Replaces a stale socket file.  Raises StartupError for everything that is in the way; then
    nothing of ours is left at `path`.
    """
    check_path_length(path)
    if not 0 <= mode <= 0o777:
        raise StartupError(f"{mode} is not a mode of a socket; write it in octal, like 0o660")
    gid = gid_of(group) if group else None
    remove_stale(path)
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bound = None
    try:
        listener.setblocking(False)
        _bind(listener, path, mode)
        listener.bound = _identity(path)  # for the clean-up, should the next step fail
        _set_owner(path, mode, gid)
        listener.bound = _identity(path)
        listener.listen(backlog)
    except BaseException as error:
        unlink_if_ours(listener, path)
        listener.close()
        if isinstance(error, OSError):
            raise StartupError(f"cannot listen on {path}: {error.strerror}") from error
        raise
    return listener


def _bind(listener: UnixListener, path: Path, mode: int) -> None:
    try:
        # The file gets the socket's own mode (unix(7), Linux): nothing for the group before it is
        # the right one.  The umask would do it as well, but it is every thread's, and would take
        # rights from what they make meanwhile.
        os.fchmod(listener.fileno(), mode & 0o700)
        listener.bind(os.fspath(path))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"already running: another process has just taken {path}") from error
        raise StartupError(
            f"cannot listen on {path}: {error.strerror}; {path.parent} must be a directory that we"
            " may write to (--runtime-dir, --socket)"
        ) from error


def _set_owner(path: Path, mode: int, gid: int | None) -> None:
    if gid is not None:
        try:
            os.chown(path, -1, gid, follow_symlinks=False)
        except OSError as error:
            raise StartupError(
                f"cannot give {path} to the group {gid}: {error.strerror}; make our user a member"
                " of it, unset socket_group (RUNNERD_SOCKET_GROUP), or let systemd open the socket"
                " (SocketGroup= in runnerd.socket)"
            ) from error
    path.chmod(mode)


def gid_of(group: str, setting: str = "socket_group") -> int:
    """The gid of a group's name, or of its number.  Raises StartupError that names the setting."""
    if group.isascii() and group.isdigit() and len(group) < 10:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError) as error:
        raise StartupError(
            f"there is no group {group!r} on this host: create it (`groupadd {group}`)"
            f" or set another {setting} (RUNNERD_{setting.upper()})"
        ) from error


def _identity(path: Path) -> tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_ctime_ns


def unlink_if_ours(listener: socket.socket, path: Path) -> bool:
    """Remove `path` if it is still the file that `listener` made; return whether it was.

    A successor's socket, and one that systemd made, stays.  Best called before the listener is
    closed: an open socket keeps its inode number from being given to another file.
    """
    bound = listener.bound if isinstance(listener, UnixListener) else None
    if bound is None:
        return False
    try:
        found = _identity(path)
        # Closed, the number may have been given again; the time tells that, but also sees a chmod.
        known = bound if listener.fileno() < 0 else (*bound[:2], found[2])
        if found != known:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("cannot remove the socket %s: %s", path, error.strerror)
        return False
    return True


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, an IPv6 host without its brackets.

    Raises StartupError that says how to write it.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise _bad_listen(text, _explain(text))
    host, port = match["host"], int(match["port"])
    if port > 65535:
        raise _bad_listen(text, "a port is at most 65535")
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise _bad_listen(text, "brackets hold an IPv6 address")
    elif not host:
        raise _bad_listen(text, f"name the host: 127.0.0.1:{port} is this machine only")
    elif not _NAME.fullmatch(host):
        raise _bad_listen(text, f"{host!r} is neither a name nor an address")
    return host, port


def _bad_listen(text: str, reason: str) -> StartupError:
    return StartupError(
        f"cannot listen on {text!r}: {reason}; --listen (RUNNERD_LISTEN) takes HOST:PORT"
        " as in 127.0.0.1:12434 or [::1]:12434"
    )


def _explain(text: str) -> str:
    if "://" in text:
        return "leave the scheme away"
    if text.isascii() and text.isdigit():
        return "the host is missing"
    if _is_ipv6(text) or _is_ipv6(text.rpartition(":")[0]):
        return "an IPv6 address goes in brackets"
    return "this is not HOST:PORT"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def listen_tcp(
    host: str, port: int, *, remote_refusal: str | None = _LOOPBACK_ALONE, backlog: int = BACKLOG
) -> list[socket.socket]:
    """Return non-blocking sockets that listen on every address of `host`, all with one port.

    With port 0 the system chooses; ask getsockname().  `remote_refusal` says why no address beyond
    loopback is listened on, None that they are.  Raises StartupError for such an address, an
    unknown name or a port in use; then nothing is left open.
    """
    addresses = _resolve(host, port)
    if remote_refusal is not None:
        _refuse_remote(host, addresses, remote_refusal)
    # A port that the system chose is free on the first address; on the next it may be taken.
    attempts = _PORT_ATTEMPTS if port == 0 else 1
    while True:
        attempts -= 1
        try:
            return _listen_on_all(addresses, backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not attempts:
                raise _cannot_listen(host, port, error) from error


def _resolve(host: str, port: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:  # ValueError: what IDNA cannot encode
        raise StartupError(
            f"cannot listen on {host}, port {port}: no address is known for that name ({error});"
            " check --listen (RUNNERD_LISTEN)"
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _refuse_remote(host: str, addresses: list[_Address], refusal: str) -> None:
    for _, address in addresses:
        if not _is_loopback(str(address[0])):
            where = host if host == address[0] else f"{host} ({address[0]})"
            raise StartupError(f"refusing to listen on {where}: {refusal}")


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def _listen_on_all(addresses: list[_Address], backlog: int) -> list[socket.socket]:
    """Listen on every address that this host has, or raise OSError with nothing left open."""
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    try:
        for family, address in addresses:
            if listeners:  # the port that the first one got
                address = (address[0], listeners[0].getsockname()[1], *address[2:])
            try:
                listeners.append(_listen_on(family, address, backlog))
            except OSError as error:
                # `localhost` names ::1 even where IPv6 is switched off.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                failure = error
                log.info("not listening on %s: %s", address[0], error.strerror)
        if failure and not listeners:
            raise failure
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen_on(
    family: socket.AddressFamily, address: tuple[object, ...], backlog: int
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        # A restart must not wait for the old connections' TIME_WAIT; two listeners still exclude.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> StartupError:
    advice = {
        errno.EADDRINUSE: f"`ss -ltnp sport = :{port}` shows who has it; stop that, or set another"
        " port (--listen, RUNNERD_LISTEN)",
        errno.EACCES: "ports below 1024 need a privilege; set another (--listen, RUNNERD_LISTEN) or"
        " let systemd open it (runnerd.socket)",
        errno.EADDRNOTAVAIL: "this host has no such address (--listen, RUNNERD_LISTEN)",
    }.get(error.errno or 0, "check --listen (RUNNERD_LISTEN)")
    return StartupError(f"cannot listen on {host}, port {port}: {error.strerror}; {advice}")
