"""Who is at the other end of a client's connection: found once, when it is accepted.

The kernel's word for a Unix socket and for loopback TCP (`sockets/peer`, `sockets/sock_diag`) does
not wait.  Where it counts which groups a uid has and the user database has to be asked, the
connection is not read until that is known.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from runnerd import tasks
from runnerd.access.peers import (
    ListenerKind,
    Peer,
    PeerRules,
    is_loopback,
    peer_principal,
)
from runnerd.access.principals import NOBODY, Principal
from runnerd.sockets.groups import GroupMembers, peer_groups
from runnerd.sockets.peer import PeerSocket, peer_credentials
from runnerd.sockets.sock_diag import SockDiag

log = logging.getLogger(__name__)


class Peers:
    """Finds peers, and holds the rules that say whom they are taken for."""

    def __init__(self, rules: PeerRules | None = None, members: GroupMembers | None = None) -> None:
        self.rules = rules or PeerRules(frozenset({0, os.geteuid()}))
        self._members = members or GroupMembers()
        self._diag = SockDiag()

    def close(self) -> None:
        """Ask the kernel no more.  Idempotent."""
        self._diag.close()

    def warn(self) -> None:
        """Say in the log if clients over loopback TCP cannot be told apart."""
        if (reason := self._diag.why_not()) is not None:
            log.warning(
                "users of this host cannot be told apart over TCP (%s): over TCP nobody may manage"
                " models without a key; under systemd, RestrictAddressFamilies= needs AF_NETLINK",
                reason,
            )

    def principal(self, peer: Peer, forwarded_for: str) -> Principal:
        """Whom the rules take a peer for."""
        return peer_principal(peer, self.rules, forwarded_for)

    def of_uid(self, uid: int | None) -> Principal:
        """Who uses a runner's own Unix socket, which only the daemon's user and root may open."""
        if uid is None:
            return NOBODY
        return self.principal(Peer(ListenerKind.UNIX, uid), "")

    def find(self, transport: asyncio.BaseTransport) -> tuple[Peer, bool]:
        """Who is at the other end, and whether its groups still have to be asked for."""
        sock = transport.get_extra_info("socket")
        if sock is None:
            return Peer(ListenerKind.REMOTE), False
        if sock.family == socket.AF_UNIX:
            peer = _unix_peer(sock)
            if peer.groups or peer.uid is None:
                return peer, False
        else:
            peer = self._tcp_peer(transport, sock)
        if peer.uid is None or not self.rules.ask_for_groups or peer.uid in self.rules.owner_uids:
            return peer, False
        groups = self._members.known(peer.uid)
        return replace(peer, groups=groups or frozenset()), groups is None

    async def with_groups(self, peer: Peer) -> Peer:
        """A peer with the groups that the user database knows."""
        assert peer.uid is not None
        return replace(peer, groups=await self._members.of(peer.uid))

    def _tcp_peer(self, transport: asyncio.BaseTransport, sock: socket.socket) -> Peer:
        ours, theirs = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        if not ours or not theirs:
            return Peer(ListenerKind.REMOTE)
        address = str(theirs[0])
        if not (is_loopback(str(ours[0])) and is_loopback(address)):
            return Peer(ListenerKind.REMOTE, address=address)
        return Peer(ListenerKind.LOOPBACK, self._diag.peer_uid(sock), address=address)


class ConnectionPeer:
    """The other end of one connection, and whom the rules as they are now take it for."""

    def __init__(self, peers: Peers, transport: asyncio.Transport) -> None:
        self._peers = peers
        self._transport = transport
        self._peer, unknown = peers.find(transport)
        self._found: tuple[PeerRules, str, Principal] | None = None
        self.unknown = unknown
        self._held: list[bytes] = []
        self._feed: Callable[[bytes], None] | None = None
        if unknown:
            tasks.spawn(self._ask_for_groups(), name="groups of a client")

    def hold(self, data: bytes, feed: Callable[[bytes], None]) -> None:
        """Keep what arrives while it is `unknown`; `feed` takes it once it is not."""
        self._held.append(data)
        self._feed = feed
        self._transport.pause_reading()  # uvloop pays no heed to it before something has arrived

    def principal(self, forwarded_for: str = "") -> Principal:
        """Whose a request without a key is; `forwarded_for` is what its X-Forwarded-For says."""
        rules = self._peers.rules
        if self._found is None or self._found[0] is not rules or self._found[1] != forwarded_for:
            principal = self._peers.principal(self._peer, forwarded_for)
            self._found = rules, forwarded_for, principal
        return self._found[2]

    @property
    def changed(self) -> bool:
        """Whether the rules take it for somebody else now than at the request before."""
        if self._found is None or self._found[0] is self._peers.rules:
            return False
        _, forwarded_for, before = self._found
        return self.principal(forwarded_for) != before

    async def _ask_for_groups(self) -> None:
        self._peer = await self._peers.with_groups(self._peer)
        self.unknown = False
        if self._feed is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        held, feed = b"".join(self._held), self._feed
        self._held, self._feed = [], None
        feed(held)


def _unix_peer(sock: PeerSocket) -> Peer:
    found = peer_credentials(sock)
    if found is None:
        return Peer(ListenerKind.UNIX)
    groups = peer_groups(sock)
    if groups is None:
        return Peer(ListenerKind.UNIX, found.uid)
    return Peer(ListenerKind.UNIX, found.uid, groups | {found.gid})
