"""Which user of this host is at the other end of a TCP connection over loopback.

The kernel knows the owner of every socket, and tells by sock_diag(7) for the exact pair of
addresses.  That is one question without waiting, tens of microseconds, once per connection.

What makes a response count:
- It is about a connected socket with exactly these addresses: where there is none, the kernel may
  tell of a listener on that port instead.
- The socket still belongs to a process: of one that was closed the kernel tells the uid 0.
- Our own end is still connected afterwards.  As long as it is, nobody else can have got the pair.
- Both are in one network namespace: systemd can pass listeners of another one.

All else, a kernel without sock_diag and a service that may not ask included, is "not known".
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
from typing import Protocol

log = logging.getLogger(__name__)

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions; states
_ID = struct.Struct("!HH16s16s")  # ports and addresses, in the network's order
_ID_REST = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # any interface, no cookie
_RESPONSE = struct.Struct("=BBBB")  # family, state, timer, retransmissions
_OWNER = struct.Struct("=IIIII")  # expires, receive queue, send queue, uid, inode
_ID_AT = _HEADER.size + _RESPONSE.size
_OWNER_AT = _ID_AT + _ID.size + len(_ID_REST)
# TCP_ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: connected, or once was.
_CONNECTED = frozenset({1, 4, 5, 8, 9, 11})
_SO_NETNS_COOKIE = 71  # Linux 5.14
_ATTEMPTS = 4

_MAPPED = b"\0" * 10 + b"\xff\xff"
_LOOPBACK_6 = socket.inet_pton(socket.AF_INET6, "::1")

_Address = tuple[bytes, int]  # 4 or 16 bytes, and the port


class ConnectedSocket(Protocol):
    """A TCP socket, or what asyncio and uvloop hand out as a transport's `socket`."""

    def getsockname(self) -> tuple[str, int]: ...

    def getpeername(self) -> tuple[str, int]: ...

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


class SockDiag:
    """Asks the kernel for the owners of sockets.  `close` it at the end; it can be used again."""

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._refused = False
        self._sequence = 0

    def close(self) -> None:
        """Give the descriptor back.  Idempotent."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def why_not(self) -> str | None:
        """Why the kernel cannot be asked at all, or None.  For the log and for `doctor`."""
        try:
            self._open()
        except OSError as error:
            return error.strerror or str(error)
        return None

    def peer_uid(self, sock: ConnectedSocket) -> int | None:
        """The uid at the other end of a loopback connection, None where it is not known.

        Never waits.
        """
        try:
            ours, theirs = _address(sock.getsockname()), _address(sock.getpeername())
            if not (_is_loopback(ours) and _is_loopback(theirs)):
                return None
            netlink = self._open()
            if not _same_namespace(netlink, sock):
                return None
            uid = self._ask(netlink, theirs, ours)
            sock.getpeername()  # raises where the connection is gone
        except (OSError, ValueError) as error:
            self._tell(error)
            return None
        return uid

    def _open(self) -> socket.socket:
        if self._netlink is None:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._netlink = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        return self._netlink

    def _ask(self, netlink: socket.socket, local: _Address, remote: _Address) -> int | None:
        """The owner of the socket that is connected from `local` to `remote`."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        netlink.send(_request(self._sequence, local, remote))
        return _owner(_receive(netlink, self._sequence), local, remote)

    def _tell(self, error: Exception) -> None:
        """Say once that the kernel cannot be asked; a connection that has gone is nothing to say.

        A broken descriptor is replaced for the next question.
        """
        number = getattr(error, "errno", None)
        if number in (errno.ENOTCONN, errno.ECONNRESET, errno.EBADF):
            return
        self.close()
        if not self._refused:
            self._refused = True
            log.warning("clients over loopback TCP cannot be told apart: %s", error)


def _same_namespace(netlink: socket.socket, sock: ConnectedSocket) -> bool:
    """Whether two sockets are in one network namespace; yes where an older kernel cannot say."""
    with contextlib.suppress(OSError):
        ours = netlink.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        return ours == sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    return True


def _request(sequence: int, local: _Address, remote: _Address) -> bytes:
    family = socket.AF_INET if len(local[0]) == 4 else socket.AF_INET6
    id = _ID.pack(local[1], remote[1], local[0], remote[0])
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + id + _ID_REST
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0) + body


def _receive(netlink: socket.socket, sequence: int) -> bytes:
    """The response to a question; one that an earlier question has left is passed over.

    The kernel has put it there before send() returned, so there is nothing to wait for.
    """
    for _ in range(_ATTEMPTS):
        data = netlink.recv(4096)
        if len(data) >= _HEADER.size and _HEADER.unpack_from(data)[3] == sequence:
            return data
    raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _owner(data: bytes, local: _Address, remote: _Address) -> int | None:
    """The uid that a response tells, None where it is not about the socket that was asked for."""
    kind = _HEADER.unpack_from(data)[1]
    if kind == _NLMSG_ERROR:
        number = -struct.unpack_from("=i", data, _HEADER.size)[0]
        if number == errno.ENOENT:
            return None
        raise OSError(number, os.strerror(number))
    if kind != _SOCK_DIAG_BY_FAMILY or len(data) < _OWNER_AT + _OWNER.size:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    family, state, _, _ = _RESPONSE.unpack_from(data, _HEADER.size)
    port, remote_port, source, destination = _ID.unpack_from(data, _ID_AT)
    size = 4 if family == socket.AF_INET else 16  # an IPv6 socket may speak IPv4
    found = (_plain(source[:size]), port), (_plain(destination[:size]), remote_port)
    *_, uid, inode = _OWNER.unpack_from(data, _OWNER_AT)
    if found != (local, remote) or state not in _CONNECTED or not inode:
        return None
    return int(uid)


def _address(name: tuple[str, int]) -> _Address:
    """A socket's address; IPv4 also where a socket for both shows it as `::ffff:127.0.0.1`."""
    host = name[0].partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _plain(socket.inet_pton(family, host)), name[1]


def _plain(packed: bytes) -> bytes:
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _is_loopback(address: _Address) -> bool:
    return address[0] == _LOOPBACK_6 or (len(address[0]) == 4 and address[0][0] == 127)
