"""What the settings say of the listeners."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

import pytest

from runnerd.config import Settings
from runnerd.errors import StartupError
from runnerd.relay.listening import (
    check_listening,
    peer_rules,
    remote_refusal,
    renew,
    socket_gid,
)

WIDE: dict[str, Any] = {"allow_remote": True, "require_keys": True}


def test_the_owners_group_is_the_sockets_unless_somebody_says_otherwise() -> None:
    """Whoever gave the socket a group let its members manage models before."""
    assert peer_rules(Settings()).owner_gid is None
    assert peer_rules(Settings(), 50).owner_gid == 50
    assert peer_rules(Settings(socket_group="60"), None).owner_gid == 60
    assert peer_rules(Settings(user_group="60"), 60).owner_gid is None
    assert peer_rules(Settings(owner_group="70", user_group="60"), 60).owner_gid == 70
    assert peer_rules(Settings(owner_group=""), 50).owner_gid is None


def test_systemds_socket_has_a_group_where_its_mode_lets_it_in(tmp_path: Path) -> None:
    """A group that may not write may not connect either."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        assert socket_gid([listener], path) == path.stat().st_gid
        path.chmod(0o600)
        assert socket_gid([listener], path) is None
        assert socket_gid([listener], tmp_path / "other") is None
        path.unlink()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"user_group": "no such group"}, "user_group"),
        ({"owner_group": "no such group"}, "owner_group"),
        ({"trusted_proxies": ["somewhere"]}, "trusted_proxies"),
        ({"tls_certificate": Path("/nowhere/c")}, "tls_key"),
        ({"tls_certificate": Path("/nowhere/c"), "tls_key": Path("/nowhere/k")}, "cannot read"),
        (
            {"tls_certificate": Path("c"), "tls_key": Path("k"), "tls": "elsewhere"},
            "a proxy does TLS",
        ),
    ],
)
def test_wrong_settings_are_explained(settings: dict[str, Any], said: str) -> None:
    """By the setting's name."""
    with pytest.raises(StartupError, match=said):
        check_listening(Settings(**settings))


def test_wider_than_loopback_takes_three_words() -> None:
    """Also for sockets that systemd has opened."""
    assert remote_refusal(Settings(**WIDE, tls="elsewhere")) is None
    for settings in ({}, WIDE, {"tls": "elsewhere"}, {"require_keys": True}):
        with pytest.raises(StartupError, match="takes keys and TLS"):
            check_listening(Settings(**settings), ["192.0.2.1"])
        check_listening(Settings(**settings), ["127.0.0.1", "::1"])
    check_listening(Settings(**WIDE, tls="elsewhere"), ["192.0.2.1"])


def test_any_tcp_peer_may_be_a_proxy_that_nobody_named() -> None:
    """Once it is named, others are taken for themselves."""
    assert peer_rules(Settings(tls="elsewhere")).proxied
    assert not peer_rules(Settings(tls="elsewhere", trusted_proxies=["10.0.0.7"])).proxied


def test_tls_neither_begins_nor_ends_while_listeners_are_open() -> None:
    """Certificates are renewed; whether there is one takes a restart, and that is said."""
    pair = Settings(tls_certificate=Path("c"), tls_key=Path("k"))
    renew(None, Settings())
    with pytest.raises(StartupError, match="restart"):
        renew(None, pair)
    with pytest.raises(StartupError, match="restart"):
        renew(cast(Any, object()), Settings())
