"""What the settings say of the listeners: who is let in there without a key, and how wide.

Wider than loopback takes three words of the owner: that other machines may come (`allow_remote`),
that they need keys (`require_keys`), and TLS, by the daemon or by a proxy in front of it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from runnerd.access.peers import Network, PeerRules, is_loopback
from runnerd.config import Settings
from runnerd.errors import StartupError
from runnerd.relay.admission import Admission
from runnerd.relay.host_names import HostNames
from runnerd.relay.origins import Origins
from runnerd.sockets.listeners import gid_of, parse_listen
from runnerd.sockets.tls import ServerCertificate, read_certificate


def peer_rules(settings: Settings, socket_gid: int | None = None) -> PeerRules:
    """Whom the listeners let in without a key; `socket_gid` is the group of systemd's socket.

    Raises errors.StartupError for a group that there is not and for what is no network.
    """
    owner_gid: int | None = socket_gid
    user_gid = gid_of(settings.user_group, "user_group") if settings.user_group else None
    if settings.owner_group is not None:
        owner_gid = gid_of(settings.owner_group, "owner_group") if settings.owner_group else None
    elif user_gid is not None:
        owner_gid = None  # the socket's group may well be that of the users
    elif settings.socket_group:
        owner_gid = gid_of(settings.socket_group, "socket_group")
    proxies = _networks(settings.trusted_proxies)
    return PeerRules(
        owner_uids=frozenset({0, os.geteuid()}),
        owner_gid=owner_gid,
        user_gid=user_gid,
        require_keys=settings.require_keys,
        proxies=proxies,
        proxied=settings.tls == "elsewhere" and not proxies,
    )


def check_listening(settings: Settings, bound: Sequence[str] = ()) -> None:
    """Hold the settings against each other, and against the TCP addresses that are listened on.

    Raises errors.StartupError.
    """
    peer_rules(settings)
    paths = _certificate_paths(settings)
    if paths is not None:
        read_certificate(*paths)
    refusal = remote_refusal(settings)
    for address in bound:
        if refusal is not None and not is_loopback(address):
            raise StartupError(f"refusing to listen on {address}: {refusal}")


def address_of_server(settings: Settings) -> tuple[str, int | None]:
    """Where clients find the daemon, for who is told of it: host and port, else the socket's path.

    Systemd's sockets may lie elsewhere.
    """
    if settings.listen:
        return parse_listen(settings.listen)
    return str(settings.socket_path), None


def remote_refusal(settings: Settings) -> str | None:
    """Why addresses beyond loopback are not listened on, and what to set; None: they are."""
    lacking = []
    if not settings.allow_remote:
        lacking.append("allow_remote = true (RUNNERD_ALLOW_REMOTE=1)")
    if not settings.require_keys:
        lacking.append(
            "require_keys = true (RUNNERD_REQUIRE_KEYS=1; `runnerd user add` makes keys)"
        )
    if settings.tls_certificate is None and settings.tls != "elsewhere":
        lacking.append(
            'tls_certificate and tls_key, or tls = "elsewhere" (RUNNERD_TLS=elsewhere) where a'
            " proxy in front does TLS"
        )
    if not lacking:
        return None
    return (
        "other machines can reach it, which takes keys and TLS.  Set "
        + "; ".join(lacking)
        + "; or listen on 127.0.0.1"
    )


def tcp_settings(settings: Settings) -> list[str]:
    """What the settings say of the TCP addresses to listen on, as HOST:PORT."""
    pantry = settings.pantry.listen if settings.pantry.enabled else ""
    return [address for address in (settings.listen, pantry) if address]


def make_admission(settings: Settings, bound: list[str] | None = None) -> Admission:
    """Return who may talk to a daemon that listens on these addresses.

    Raises errors.StartupError.
    """
    if bound:
        bound = [*bound, *(parse_listen(address)[0] for address in tcp_settings(settings))]
    return Admission(
        HostNames(settings.allowed_hosts, bound or (), socket.gethostname()),
        Origins(settings.allowed_origins, local=settings.local_origins),
    )


def certificate(settings: Settings) -> ServerCertificate | None:
    """The certificate that TCP listeners show, None where they speak without TLS.

    Raises errors.StartupError.
    """
    paths = _certificate_paths(settings)
    return None if paths is None else ServerCertificate(*paths)


def renew(known: ServerCertificate | None, settings: Settings) -> None:
    """Have the listeners show what the files hold now.

    Raises errors.StartupError, also where TLS would begin or end: listeners speak what they spoke
    from the start.
    """
    paths = _certificate_paths(settings)
    if (known is None) != (paths is None):
        raise StartupError("tls_certificate: to begin or to end TLS takes a restart")
    if known is not None and paths is not None:
        known.renew(*paths)


def socket_gid(listeners: Sequence[socket.socket], path: Path) -> int | None:
    """The group that systemd gave the control socket, where its mode lets that group in."""
    for listener in listeners:
        if listener.family == socket.AF_UNIX and listener.getsockname() == str(path):
            try:
                found = path.stat()
            except OSError:
                return None
            return found.st_gid if found.st_mode & stat.S_IWGRP else None
    return None


def _certificate_paths(settings: Settings) -> tuple[Path, Path] | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise StartupError("tls_certificate and tls_key are set together: two PEM files")
    if settings.tls == "elsewhere":
        raise StartupError(
            'tls = "elsewhere" says that a proxy does TLS; leave it away, or tls_certificate'
        )
    return certificate, key


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise StartupError(
            f"trusted_proxies: {error}; write addresses and networks: 10.0.0.7, 10.0.0.0/8"
        ) from error
