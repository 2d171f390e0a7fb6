"""Who is at the other end of a connection, by what the kernel says of it, and whom that makes it.

Asked where a request shows no key.  What the kernel says (`Peer`) is found once per connection; the
rules are settings that can change while it is open, so the principal is worked out at each request.

| listener | the other end | principal |
|---|---|---|
| UNIX, LOOPBACK | the daemon's own uid, root, a member of `owner_group` | OWNER |
| UNIX, LOOPBACK | another uid, a member of `user_group` where there is one | LOCAL |
| UNIX, LOOPBACK | another uid that is no member of `user_group` | NOBODY |
| LOOPBACK | could not be attributed | ANONYMOUS; NOBODY where there is a `user_group` |
| REMOTE | any | NOBODY: another machine needs a key |
| LOOPBACK, REMOTE | a proxy, which speaks for others | as one that could not be attributed |
| UNIX | a proxy of somebody who is let in | ANONYMOUS |

With `require_keys` LOCAL and ANONYMOUS are NOBODY, too.  NOBODY gets what is PUBLIC, and 401 else.
A proxy is one of `trusted_proxies`, and every program that sends X-Forwarded-For: what it passes on
is not its own request, so that one which runs as root makes nobody an owner.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from runnerd.access.principals import (
    NOBODY,
    Principal,
    address_principal,
    local_principal,
    owner_principal,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenerKind(enum.StrEnum):
    """How a client came in."""

    UNIX = "unix"
    LOOPBACK = "loopback"  # TCP between two programs of this host
    REMOTE = "remote"  # any other TCP


@dataclass(frozen=True, slots=True)
class Peer:
    """What the kernel says of the other end of a connection.

    `uid` is None where it does not say; `groups` are the gids that count for it.  `address` is ""
    for a Unix socket.
    """

    listener: ListenerKind
    uid: int | None = None
    groups: frozenset[int] = frozenset()
    address: str = ""


@dataclass(frozen=True, slots=True)
class PeerRules:
    """Whom a listener lets in without a key, and as whom.

    `owner_uids` are the daemon's own uid and root's.  `proxies` are the networks whose connections
    come from proxies; with `proxied` every TCP connection may come from one.
    """

    owner_uids: frozenset[int] = frozenset({0})
    owner_gid: int | None = None
    user_gid: int | None = None
    require_keys: bool = False
    proxies: tuple[Network, ...] = ()
    proxied: bool = False

    @property
    def ask_for_groups(self) -> bool:
        """Whether it matters which groups a uid is a member of."""
        return self.owner_gid is not None or self.user_gid is not None

    def is_proxy(self, address: str) -> bool:
        """Whether a connection from an address may carry the requests of others."""
        return self.proxied or self.trusts(address)

    def trusts(self, address: str) -> bool:
        """Whether what an address says in X-Forwarded-For counts."""
        if not self.proxies:
            return False
        known = plain_address(address)
        return known is not None and any(known in network for network in self.proxies)


def peer_principal(peer: Peer, rules: PeerRules, forwarded_for: str = "") -> Principal:
    """Whom the rules take a peer for; see the table above.

    `forwarded_for` is what the head's X-Forwarded-For lines say, joined by commas.
    """
    over_tcp = peer.listener is not ListenerKind.UNIX
    if over_tcp and (rules.is_proxy(peer.address) or forwarded_for):
        return _unattributed(peer.listener, _client_address(peer, rules, forwarded_for), rules)
    if peer.listener is ListenerKind.REMOTE or peer.uid is None:
        return _unattributed(peer.listener, peer.address, rules)
    owner = peer.uid in rules.owner_uids or rules.owner_gid in peer.groups
    if owner and not forwarded_for:
        return owner_principal(peer.uid)
    member = owner or rules.user_gid is None or rules.user_gid in peer.groups
    if rules.require_keys or not member:
        return NOBODY
    if forwarded_for:
        return address_principal(f"behind uid {peer.uid}")  # shares nothing with that uid
    return local_principal(peer.uid)


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as it is compared: without zone, and IPv4 also where it is written as IPv6."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_loopback(address: str) -> bool:
    """Whether an address is this host's own, for its own programs alone."""
    known = plain_address(address)
    return known is not None and known.is_loopback


def _unattributed(listener: ListenerKind, address: str, rules: PeerRules) -> Principal:
    admitted = listener is ListenerKind.LOOPBACK and rules.user_gid is None
    return address_principal(address) if admitted and not rules.require_keys else NOBODY


def _client_address(peer: Peer, rules: PeerRules, forwarded_for: str) -> str:
    """The client's address: the last one that was not added by a proxy that is trusted."""
    address = peer.address
    for said in reversed(forwarded_for.split(",")):
        if not rules.trusts(address):
            break
        known = plain_address(_without_port(said.strip()))
        if known is None:
            break
        address = str(known)
    return address


def _without_port(text: str) -> str:
    """`1.2.3.4:80` and `[::1]:80`, as some proxies write them, without the port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return host if colon and ":" not in host and port.isdigit() else text
