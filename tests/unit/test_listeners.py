"""Listeners: never more open than asked for, never stolen, and every refusal says what to do."""

from __future__ import annotations

import errno
import grp
import ipaddress
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import StartupError
from runnerd.sockets import listeners
from runnerd.sockets.listeners import (
    UnixListener,
    listen_tcp,
    listen_unix,
    parse_listen,
    unlink_if_ours,
)

OUR_GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def path() -> Iterator[Path]:
    """A free path for a socket; tmp_path grows with the test's name."""
    with tempfile.TemporaryDirectory(prefix="rd-", dir="/tmp") as directory:
        yield Path(directory) / "s"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def exchange(listener: socket.socket, address: str | tuple[str, int]) -> bytes:
    """Let a client connect and be greeted, after whoever only looked in."""
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
    with socket.socket(listener.family) as client:
        client.connect(address)
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
        return client.recv(100)


# Unix sockets


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_unix_listener_has_its_mode_and_serves(path: Path, mode: int) -> None:
    """Clients are served, the mode is the one asked for, children inherit nothing."""
    umask = os.umask(0o022)
    os.umask(umask)
    with listen_unix(path, mode=mode, group=OUR_GROUP) as listener:
        assert (mode_of(path), path.stat().st_gid) == (mode, os.getegid())
        assert (listener.getblocking(), listener.get_inheritable()) == (False, False)
        assert exchange(listener, str(path)) == b"hello"
    assert os.umask(umask) == umask


def test_unix_listener_is_never_more_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the group is the right one, only the owner could connect."""
    seen = []

    def chown(target: Path, *args: int, follow_symlinks: bool) -> None:
        seen.append(mode_of(target))

    monkeypatch.setattr(os, "chown", chown)
    before = os.umask(0)
    try:
        listen_unix(path, mode=0o660, group=OUR_GROUP).close()
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert mode_of(path) == 0o660


def test_what_others_make_meanwhile_keeps_its_rights(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is every thread's: a folder made beside bind() is not closed to its owner."""
    folder, bind = path.parent / "made meanwhile", socket.socket.bind

    def bind_beside_others(listener: UnixListener, address: str) -> None:
        folder.mkdir(mode=0o700)
        bind(listener, address)

    monkeypatch.setattr(UnixListener, "bind", bind_beside_others)
    listen_unix(path, mode=0o600, group=None).close()
    assert mode_of(folder) == 0o700


def test_numeric_group_is_accepted(path: Path) -> None:
    """A gid serves where the group has no name (containers)."""
    with listen_unix(path, mode=0o660, group=str(os.getegid())):
        assert path.stat().st_gid == os.getegid()


def test_unknown_group_is_explained_and_leaves_nothing(path: Path) -> None:
    """The message says how to make the group; no socket is left."""
    with pytest.raises(StartupError, match=r"no group 'no-such-group'.*groupadd.*SOCKET_GROUP"):
        listen_unix(path, mode=0o660, group="no-such-group")
    assert not path.exists()


def test_forbidden_group_is_explained_and_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPERM from chown, as in the sandbox, names the remedy; the half-made socket is removed."""

    def chown(*args: object, follow_symlinks: bool) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(StartupError, match=r"cannot give .*member of it.*SocketGroup="):
        listen_unix(path, mode=0o660, group=OUR_GROUP)
    assert not path.exists()


@pytest.mark.parametrize("mode", [660, -1, 0o1777])
def test_decimal_mode_is_refused(path: Path, mode: int) -> None:
    """`socket_mode = 660` in TOML would be an absurd mode; it is explained instead."""
    with pytest.raises(StartupError, match="octal"):
        listen_unix(path, mode=mode, group=None)


def test_stale_socket_is_replaced(path: Path) -> None:
    """What a killed daemon left does not keep the next one from starting."""
    listen_unix(path, mode=0o600, group=None).close()
    assert path.exists()
    with listen_unix(path, mode=0o600, group=None) as listener:
        assert exchange(listener, str(path)) == b"hello"


def test_live_socket_is_not_stolen(path: Path) -> None:
    """A second daemon is refused, the first goes on serving."""
    with listen_unix(path, mode=0o600, group=None) as first:
        with pytest.raises(StartupError, match="already running"):
            listen_unix(path, mode=0o600, group=None)
        assert exchange(first, str(path)) == b"hello"


def test_regular_file_is_not_replaced(path: Path) -> None:
    """A file at the path stays as it is."""
    path.write_text("precious")
    with pytest.raises(StartupError, match="left untouched"):
        listen_unix(path, mode=0o600, group=None)
    assert path.read_text() == "precious"


def test_path_taken_after_the_check_is_not_stolen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever binds between our check and our bind keeps the name."""
    monkeypatch.setattr(listeners, "remove_stale", lambda path: False)
    with listen_unix(path, mode=0o600, group=None) as first:
        with pytest.raises(StartupError, match="just taken"):
            listen_unix(path, mode=0o600, group=None)
        assert exchange(first, str(path)) == b"hello"


def test_long_path_is_refused_before_anything(tmp_path: Path) -> None:
    """The limit is named instead of the system's misleading error."""
    with pytest.raises(StartupError, match="limit is 107"):
        listen_unix(tmp_path / ("x" * 108), mode=0o600, group=None)


def test_missing_directory_is_explained(path: Path) -> None:
    """The message names the directory and the settings."""
    with pytest.raises(StartupError, match=r"absent must be a directory .*--runtime-dir"):
        listen_unix(path.parent / "absent" / "s", mode=0o600, group=None)


def test_own_socket_is_unlinked(path: Path) -> None:
    """At the end our path goes away, once."""
    with listen_unix(path, mode=0o600, group=None) as listener:
        assert unlink_if_ours(listener, path) is True
        assert not path.exists()
        assert unlink_if_ours(listener, path) is False


def test_own_socket_is_unlinked_after_a_chmod(path: Path) -> None:
    """An administrator's chmod does not make it somebody else's."""
    with listen_unix(path, mode=0o600, group=None) as listener:
        path.chmod(0o666)
        assert unlink_if_ours(listener, path) is True


def test_own_socket_is_unlinked_after_close(path: Path) -> None:
    """A server that closed its listener first still cleans up."""
    listener = listen_unix(path, mode=0o600, group=None)
    listener.close()
    assert unlink_if_ours(listener, path) is True


@pytest.mark.parametrize("closed", [False, True])
def test_socket_of_a_successor_stays(path: Path, closed: bool) -> None:
    """If somebody else bound the path meanwhile, it is theirs, even with our old inode number."""
    with listen_unix(path, mode=0o600, group=None) as ours:
        path.unlink()
        if closed:
            ours.close()
        with listen_unix(path, mode=0o600, group=None) as theirs:
            assert unlink_if_ours(ours, path) is False
            assert exchange(theirs, str(path)) == b"hello"


def test_inherited_socket_is_not_unlinked(path: Path) -> None:
    """What systemd opened, systemd removes."""
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(str(path))
        assert unlink_if_ours(inherited, path) is False
    assert path.exists()


# TCP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:12434", ("127.0.0.1", 12434)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("localhost:65535", ("localhost", 65535)),
        ("gpu-1.example.org:80", ("gpu-1.example.org", 80)),
        ("0.0.0.0:080", ("0.0.0.0", 80)),
    ],
)
def test_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    """HOST:PORT with names, IPv4, and IPv6 in brackets."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not HOST:PORT"),
        (":8080", "127.0.0.1:8080 is this machine only"),
        ("8080", "host is missing"),
        ("localhost", "not HOST:PORT"),
        ("localhost:", "not HOST:PORT"),
        ("localhost:http", "not HOST:PORT"),
        ("localhost:-1", "not HOST:PORT"),
        ("localhost:70000", "at most 65535"),
        ("localhost:٣", "not HOST:PORT"),
        ("::1", "in brackets"),
        ("::1:8080", "in brackets"),
        ("2001:db8::1:8080", "in brackets"),
        ("[127.0.0.1]:80", "an IPv6 address"),
        ("[]:80", "an IPv6 address"),
        ("http://127.0.0.1:80", "leave the scheme away"),
        ("local host:80", "neither a name nor an address"),
        ("*:80", "neither a name nor an address"),
        ("-x:80", "neither a name nor an address"),
        ("127.0.0.1:80\n", "not HOST:PORT"),
    ],
)
def test_bad_listen_addresses_are_explained(text: str, reason: str) -> None:
    """What is wrong is said, together with what is right."""
    with pytest.raises(StartupError, match="RUNNERD_LISTEN") as caught:
        parse_listen(text)
    assert reason in caught.value.message


@given(st.text() | st.from_regex(r"[\[\]:%.0-9a-z]*:[0-9]{1,5}", fullmatch=True))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text crashes the parser, and what it accepts is a host and a port."""
    try:
        host, port = parse_listen(text)
    except StartupError:
        return
    assert host
    assert 0 <= port <= 65535


@given(address=st.ip_addresses(), port=st.integers(0, 65535))
def test_addresses_survive_the_round_trip(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    """Every IP address, written as usual, comes back as it was."""
    host = f"[{address}]" if address.version == 6 else str(address)
    assert parse_listen(f"{host}:{port}") == (str(address), port)


def test_port_0_serves_on_a_chosen_port() -> None:
    """The system chooses, getsockname() tells, a client gets through."""
    [listener] = listen_tcp("127.0.0.1", 0)
    with listener:
        assert (listener.getblocking(), listener.get_inheritable()) == (False, False)
        assert exchange(listener, listener.getsockname()) == b"hello"


def test_every_address_of_a_name_has_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """With port 0 and two addresses both listen on the port that the first one got."""
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    opened = listen_tcp("localhost", 0)
    with ExitStack() as stack:
        for listener in opened:
            stack.enter_context(listener)
        first, second = (listener.getsockname() for listener in opened)
        assert (first[0], second[0]) == ("127.0.0.1", "127.0.0.2")
        assert first[1] == second[1] != 0


def test_taken_neighbour_port_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the port chosen on the first address is taken on the second, another one is chosen."""
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    really_listen, calls = listeners._listen_on, []

    def listen(
        family: socket.AddressFamily, address: tuple[object, ...], backlog: int
    ) -> socket.socket:
        calls.append(address)
        if len(calls) == 2:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return really_listen(family, address, backlog)

    monkeypatch.setattr(listeners, "_listen_on", listen)
    opened = listen_tcp("localhost", 0)
    for listener in opened:
        listener.close()
    assert (len(opened), len(calls)) == (2, 4)


def test_port_in_use_is_explained() -> None:
    """The message names the address, who to ask, and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match=rf"port {port}: Address already .*ss -ltnp.*LISTEN"):
            listen_tcp("127.0.0.1", port)


def test_port_in_use_on_one_address_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a listener is none: the first address is free again."""
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match="in use"):
            listen_tcp("localhost", port)
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"])
def test_remote_address_is_refused(host: str) -> None:
    """Nothing but loopback unless told otherwise, and the message has the way out."""
    with pytest.raises(StartupError, match=r"refusing to listen.*127\.0\.0\.1"):
        listen_tcp(host, 0)


def test_name_with_one_remote_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address beyond loopback is one too many; the others are not opened behind its back."""
    resolves_to(monkeypatch, "127.0.0.1", "192.0.2.1")
    with pytest.raises(StartupError, match=r"192\.0\.2\.1"):
        listen_tcp("gpu", 0)


def test_remote_address_is_allowed_on_demand() -> None:
    """Where nothing is said against it, every address may be listened on."""
    [listener] = listen_tcp("0.0.0.0", 0, remote_refusal=None)
    with listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_address_of_another_host_is_explained() -> None:
    """An address that this host lacks is named."""
    with pytest.raises(StartupError, match="no such address"):
        listen_tcp("192.0.2.1", 0, remote_refusal=None)


def test_missing_ipv6_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name has an address that this host lacks, the other ones serve."""
    resolves_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    [listener] = listen_tcp("localhost", 0, remote_refusal=None)
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_unknown_name_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address gives the name and the setting."""

    def resolve(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(StartupError, match=r"nowhere.*not known.*RUNNERD_LISTEN"):
        listen_tcp("nowhere", 80)


def test_name_that_cannot_be_encoded_is_explained() -> None:
    """The resolver's UnicodeError does not reach the owner as a traceback."""
    with pytest.raises(StartupError, match="no address is known"):
        listen_tcp("a" * 70 + ".example", 80)


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these IPv4 addresses."""

    def resolve(host: str, port: int, **kwargs: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
