"""Whom a connection's other end is taken for where a request shows no key."""

import ipaddress
from dataclasses import replace

import pytest

from runnerd.access import (
    NOBODY,
    ListenerKind,
    Peer,
    PeerRules,
    Principal,
    address_principal,
    local_principal,
    owner_principal,
    peer_principal,
)

UNIX, LOOPBACK, REMOTE = ListenerKind.UNIX, ListenerKind.LOOPBACK, ListenerKind.REMOTE
DAEMON, OTHER, OWNERS, USERS = 900, 1000, 50, 60
RULES = PeerRules(owner_uids=frozenset({0, DAEMON}))
GROUPS = replace(RULES, owner_gid=OWNERS, user_gid=USERS)
KEYS = replace(RULES, require_keys=True)
PROXY = replace(RULES, proxies=(ipaddress.ip_network("127.0.0.1/32"),))
ELSEWHERE = replace(RULES, proxied=True)


def at(listener: ListenerKind, uid: int | None = None, *groups: int) -> Peer:
    """A peer on a listener."""
    address = "" if listener is UNIX else "127.0.0.1" if listener is LOOPBACK else "192.0.2.7"
    return Peer(listener, uid, frozenset(groups), address)


@pytest.mark.parametrize("listener", [UNIX, LOOPBACK])
@pytest.mark.parametrize(
    ("uid", "groups", "rules", "expected"),
    [
        (0, (), RULES, owner_principal(0)),
        (DAEMON, (), RULES, owner_principal(DAEMON)),
        (OTHER, (), RULES, local_principal(OTHER)),
        (OTHER, (OWNERS,), RULES, local_principal(OTHER)),
        (OTHER, (OWNERS,), GROUPS, owner_principal(OTHER)),
        (OTHER, (USERS,), GROUPS, local_principal(OTHER)),
        (OTHER, (7,), GROUPS, NOBODY),
        (0, (), GROUPS, owner_principal(0)),
        (OTHER, (), KEYS, NOBODY),
        (DAEMON, (), KEYS, owner_principal(DAEMON)),
        (OTHER, (USERS,), replace(GROUPS, require_keys=True), NOBODY),
        (OTHER, (OWNERS,), replace(GROUPS, require_keys=True), owner_principal(OTHER)),
    ],
)
def test_a_uid_is_the_same_principal_over_tcp_as_over_the_unix_socket(
    listener: ListenerKind,
    uid: int,
    groups: tuple[int, ...],
    rules: PeerRules,
    expected: Principal,
) -> None:
    """Owners by uid and group, users by group, and nobody else where a group is named."""
    assert peer_principal(at(listener, uid, *groups), rules) == expected


@pytest.mark.parametrize(
    ("peer", "rules", "expected"),
    [
        (at(LOOPBACK), RULES, address_principal("127.0.0.1")),
        (at(LOOPBACK), GROUPS, NOBODY),
        (at(LOOPBACK), KEYS, NOBODY),
        (at(UNIX), RULES, NOBODY),
        (at(REMOTE), RULES, NOBODY),
        (at(REMOTE, 0), RULES, NOBODY),
    ],
)
def test_what_cannot_be_attributed_is_never_an_owner(
    peer: Peer, rules: PeerRules, expected: Principal
) -> None:
    """On loopback it is an address; wider, and where only some are let in, nobody."""
    assert peer_principal(peer, rules) == expected


@pytest.mark.parametrize("uid", [0, DAEMON])
def test_a_proxy_of_root_makes_nobody_an_owner(uid: int) -> None:
    """What it passes on says so, whether the owner has spoken of that proxy or not."""
    client = "198.51.100.4"
    assert peer_principal(at(LOOPBACK, uid), RULES, client) == address_principal("127.0.0.1")
    assert peer_principal(at(UNIX, uid), RULES, client) == address_principal(f"behind uid {uid}")
    assert peer_principal(at(UNIX, OTHER), GROUPS, client) == NOBODY
    assert peer_principal(at(UNIX, uid), KEYS, client) == NOBODY
    assert peer_principal(at(LOOPBACK, uid), KEYS, client) == NOBODY


def test_where_a_proxy_stands_in_front_its_uid_says_nothing() -> None:
    """Of a proxy's address, and of every one where it was not said which is the proxy's."""
    assert peer_principal(at(LOOPBACK, 0), PROXY) == address_principal("127.0.0.1")
    assert peer_principal(at(LOOPBACK, 0), ELSEWHERE) == address_principal("127.0.0.1")
    elsewhere = replace(PROXY, proxies=(ipaddress.ip_network("10.0.0.0/8"),))
    assert peer_principal(at(LOOPBACK, 0), elsewhere) == owner_principal(0)


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("198.51.100.4", "198.51.100.4"),
        ("10.9.9.9, 198.51.100.4", "198.51.100.4"),  # the client's own line is not believed
        ("198.51.100.4, 127.0.0.1", "198.51.100.4"),  # two proxies
        ("198.51.100.4:5555", "198.51.100.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.4", "198.51.100.4"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_who_its_client_is(said: str, address: str) -> None:
    """The last address that no trusted proxy has added."""
    assert peer_principal(at(LOOPBACK, 33), PROXY, said) == address_principal(address)


def test_others_cannot_say_who_their_client_is() -> None:
    """Not even where a proxy stands in front that nobody named."""
    for rules in (RULES, ELSEWHERE):
        found = peer_principal(at(LOOPBACK, OTHER), rules, "198.51.100.4")
        assert found == address_principal("127.0.0.1")


def test_ipv4_is_ipv4_also_where_it_is_written_as_ipv6() -> None:
    """A listener for both shows `::ffff:127.0.0.1`."""
    peer = Peer(LOOPBACK, 0, address="::ffff:127.0.0.1")
    assert peer_principal(peer, PROXY, "198.51.100.4") == address_principal("198.51.100.4")
