"""Runtime directories and stale sockets: what is made, what is refused, what is never touched."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import StartupError
from runnerd.sockets import paths
from runnerd.sockets.paths import (
    UNIX_PATH_MAX,
    RuntimeDirectory,
    SocketState,
    check_path_length,
    probe,
    remove_stale,
)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name, which tmp_path may not."""
    with tempfile.TemporaryDirectory(prefix="rd-", dir="/tmp") as directory:
        yield Path(directory)


def bound(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    return sock


def make_stale(path: Path) -> None:
    bound(path).close()


def deep(base: Path, length: int) -> Path:
    """Return a directory below `base` whose path has exactly `length` bytes."""
    return base / ("x" * (length - len(os.fsencode(base)) - 1))


def give_to_stranger(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `directory` belong to neither us nor root, whoever runs the tests."""
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)
    else:
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)


def test_longest_path_is_accepted_and_binds(short: Path) -> None:
    """A path of exactly the limit passes the check, and the system takes it."""
    path = deep(short, UNIX_PATH_MAX)
    check_path_length(path)
    bound(path).close()


def test_path_beyond_the_limit_names_it_and_the_remedy(short: Path) -> None:
    """One byte more is refused with the limit, the length and the setting to change."""
    with pytest.raises(StartupError, match=r"108 bytes.* limit is 107.*RUNNERD_RUNTIME_DIR"):
        check_path_length(deep(short, UNIX_PATH_MAX + 1))


def test_length_is_counted_in_bytes() -> None:
    """What the kernel stores are bytes: 60 characters of two bytes each are too many."""
    with pytest.raises(StartupError, match="121 bytes"):
        check_path_length(Path("/" + "ä" * 60))


def test_path_with_nul_is_refused() -> None:
    """A NUL would make an abstract or a truncated address."""
    with pytest.raises(StartupError, match="NUL"):
        check_path_length(Path("\0abstract"))


def test_nothing_there_is_no_stale_socket(short: Path) -> None:
    """An absent path, or one whose parent is absent, gives False."""
    assert remove_stale(short / "s") is False
    assert remove_stale(short / "no" / "s") is False


def test_stale_socket_is_removed(short: Path) -> None:
    """A socket file that a dead process left goes away."""
    make_stale(short / "s")
    assert remove_stale(short / "s") is True
    assert not (short / "s").exists()


def test_bound_but_deaf_socket_counts_as_stale(short: Path) -> None:
    """Without listen() nobody is served, so the name may be taken."""
    with bound(short / "s"):
        assert probe(short / "s") is SocketState.STALE


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_live_socket_is_never_removed(short: Path, kind: socket.SocketKind) -> None:
    """A listener keeps its path, whatever kind of socket it is, and still gets its clients."""
    with bound(short / "s", kind) as listener, socket.socket(socket.AF_UNIX, kind) as client:
        listener.listen()
        with pytest.raises(StartupError, match="already running"):
            remove_stale(short / "s")
        client.connect(str(short / "s"))


def test_bound_datagram_socket_is_live(short: Path) -> None:
    """A datagram receiver does not listen, yet takes what is sent to its path."""
    with bound(short / "s", socket.SOCK_DGRAM):
        assert probe(short / "s") is SocketState.LIVE


def test_listener_with_full_backlog_is_live(short: Path) -> None:
    """A listener too busy to accept answers EAGAIN to a non-blocking connect; it is not dead."""
    clients = []
    with bound(short / "s") as listener:
        listener.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            clients.append(client)
            if client.connect_ex(str(short / "s")) != 0:
                break
        assert probe(short / "s") is SocketState.LIVE
        for client in clients:
            client.close()


def test_regular_file_is_refused_and_untouched(short: Path) -> None:
    """A file at the socket's path keeps its content."""
    (short / "s").write_text("precious")
    with pytest.raises(StartupError, match="not a socket"):
        remove_stale(short / "s")
    assert (short / "s").read_text() == "precious"


def test_directory_is_refused_and_untouched(short: Path) -> None:
    """A directory at the socket's path stays."""
    (short / "s").mkdir()
    with pytest.raises(StartupError, match="not a socket"):
        remove_stale(short / "s")
    assert (short / "s").is_dir()


@pytest.mark.parametrize("target", ["stale", "nowhere"])
def test_symlink_is_refused_and_untouched(short: Path, target: str) -> None:
    """A symlink stays, and so does what it points to, even a stale socket."""
    make_stale(short / "stale")
    (short / "s").symlink_to(short / target)
    with pytest.raises(StartupError, match="not a socket"):
        remove_stale(short / "s")
    assert (short / "s").is_symlink()
    assert stat.S_ISSOCK((short / "stale").stat().st_mode)


def test_socket_bound_anew_during_the_probe_survives(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another process takes the name between the probe and the removal, it keeps it."""
    make_stale(short / "s")
    successors = []

    def probe_then_lose(path: Path) -> SocketState:
        state = probe(path)
        path.unlink()
        successors.append(bound(path))
        return state

    monkeypatch.setattr(paths, "probe", probe_then_lose)
    with pytest.raises(StartupError, match="just taken"):
        remove_stale(short / "s")
    assert (short / "s").exists()
    successors[0].close()


def test_socket_we_may_not_connect_to_is_left(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not tell, nothing is removed."""
    make_stale(short / "s")
    monkeypatch.setattr(paths, "probe", lambda path: SocketState.UNKNOWN)
    with pytest.raises(StartupError, match="may not connect"):
        remove_stale(short / "s")
    assert (short / "s").exists()


def test_prepare_makes_both_directories_whatever_the_umask(short: Path) -> None:
    """The root can be entered by all, the runners' directory by us alone; repeating is harmless."""
    directory = RuntimeDirectory(short / "a" / "run")
    before = os.umask(0o077)
    try:
        directory.prepare()
        directory.prepare()
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.root.stat().st_mode) == 0o755
    assert stat.S_IMODE((directory.root / "m").stat().st_mode) == 0o700


def test_prepare_keeps_the_mode_of_an_existing_root(short: Path) -> None:
    """A directory that its owner closed further stays closed."""
    (short / "run").mkdir(mode=0o700)
    RuntimeDirectory(short / "run").prepare()
    assert stat.S_IMODE((short / "run").stat().st_mode) == 0o700


def test_prepare_closes_an_open_runners_directory(short: Path) -> None:
    """Rights that a former version left on `m` are taken back."""
    (short / "run" / "m").mkdir(parents=True)
    (short / "run" / "m").chmod(0o777 & ~0o002)
    RuntimeDirectory(short / "run").prepare()
    assert stat.S_IMODE((short / "run" / "m").stat().st_mode) == 0o700


def test_root_that_is_a_symlink_is_refused(short: Path) -> None:
    """A link could point at somebody else's directory."""
    (short / "real").mkdir()
    (short / "run").symlink_to(short / "real")
    with pytest.raises(StartupError, match="symbolic link"):
        RuntimeDirectory(short / "run").prepare()
    assert list((short / "real").iterdir()) == []


def test_root_that_is_a_file_is_refused(short: Path) -> None:
    """A file in the way is named and kept."""
    (short / "run").write_text("precious")
    with pytest.raises(StartupError, match="not a directory"):
        RuntimeDirectory(short / "run").prepare()
    with pytest.raises(StartupError, match="cannot create"):
        RuntimeDirectory(short / "run" / "below").prepare()
    assert (short / "run").read_text() == "precious"


def test_root_of_a_stranger_is_refused(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the directory could replace the sockets in it."""
    (short / "run").mkdir()
    give_to_stranger(short / "run", monkeypatch)
    with pytest.raises(StartupError, match=r"belongs to uid .*RUNNERD_RUNTIME_DIR"):
        RuntimeDirectory(short / "run").prepare()


def test_world_writable_root_is_refused_unless_sticky(short: Path) -> None:
    """Others may rename things in it, except where the sticky bit keeps them from ours."""
    (short / "run").mkdir()
    (short / "run").chmod(0o777)
    with pytest.raises(StartupError, match="chmod o-w"):
        RuntimeDirectory(short / "run").prepare()
    (short / "run").chmod(0o1777)
    RuntimeDirectory(short / "run").prepare()


def test_runners_directory_of_a_stranger_is_refused(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a root that others may write to, somebody may have made `m` before us."""
    (short / "run").mkdir()
    (short / "run").chmod(0o1777)
    (short / "run" / "m").mkdir()
    give_to_stranger(short / "run" / "m", monkeypatch)
    with pytest.raises(StartupError, match="belongs to uid"):
        RuntimeDirectory(short / "run").prepare()


def test_runners_directory_made_by_root_is_not_ours(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may have made the root for us; in `m` we must be able to make and remove sockets."""
    (short / "run" / "m").mkdir(parents=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(StartupError, match="belongs to uid"):
        RuntimeDirectory(short / "run").prepare()


def test_runner_sockets_are_stable_and_distinct(short: Path) -> None:
    """One key has one path, eight hex digits long; another key has another."""
    directory = RuntimeDirectory(short)
    path = directory.runner_socket("llama.cpp/sha256:1/completion")
    assert path == RuntimeDirectory(short).runner_socket("llama.cpp/sha256:1/completion")
    assert path != directory.runner_socket("llama.cpp/sha256:2/completion")
    assert path.parent == short / "m"
    assert len(path.stem) == 8


@given(length=st.integers(20, 200), key=st.text())
def test_runner_sockets_always_fit(length: int, key: str) -> None:
    """Whatever the root and the key, the path and its sibling are within the limit."""
    directory = RuntimeDirectory(deep(Path("/tmp"), length))
    path = directory.runner_socket(key)
    check_path_length(path.with_suffix("") / "e.sock")
    assert directory.shortened == (length + len("/m/01234567/e.sock") > UNIX_PATH_MAX)


def test_long_root_falls_back_to_a_private_short_directory(
    short: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Runners' sockets move, with the reason logged; the next start finds the same directory."""
    root = deep(tmp_path, 150)
    directory = RuntimeDirectory(root, short_base=short)
    directory.prepare()
    directory.prepare()
    path = directory.runner_socket("k")
    assert path.parent.parent == short
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "would exceed 107 bytes" in caplog.text
    assert RuntimeDirectory(root, short_base=short).runner_socket("k") == path
    assert RuntimeDirectory(deep(tmp_path, 151), short_base=short).runner_socket("k") != path
    bound(path).close()
    assert directory.clear_stale() == [path]


def test_nothing_is_left_of_the_fallback(short: Path, tmp_path: Path) -> None:
    """Once it is empty; below the root everything stays, which is found there."""
    directory = RuntimeDirectory(deep(tmp_path, 150), short_base=short)
    directory.prepare()
    socket_file = directory.runner_socket("k")
    bound(socket_file).close()
    directory.leave()
    assert list(directory.runners.iterdir()) == [socket_file]
    directory.clear_stale()
    directory.leave()
    directory.leave()
    assert list(short.iterdir()) == []
    usual = RuntimeDirectory(short / "run")
    usual.prepare()
    usual.leave()
    assert usual.runners.is_dir()


def test_fallback_made_by_a_stranger_is_refused(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that somebody put there before us is not used."""
    directory = RuntimeDirectory(deep(tmp_path, 150), short_base=short)
    directory.runners.mkdir()
    short.chmod(0o1777)
    directory.root.mkdir()
    if os.geteuid() == 0:
        os.chown(directory.runners, 65534, 65534)
    else:
        directory.runners.rmdir()
        directory.runners.symlink_to("/root")
    with pytest.raises(StartupError, match=r"belongs to uid 65534|symbolic link"):
        directory.prepare()


def test_fallback_in_an_unsafe_base_names_the_limit(short: Path, tmp_path: Path) -> None:
    """Where the short directory could be swapped, the start fails and says how to go on."""
    short.chmod(0o777)
    with pytest.raises(StartupError, match=r"limit is 107.*everybody.*--runtime-dir"):
        RuntimeDirectory(deep(tmp_path, 150), short_base=short).prepare()


def test_fallback_that_is_no_shorter_names_the_limit(tmp_path: Path) -> None:
    """A base as deep as the root helps nobody."""
    base = deep(tmp_path, 140)
    base.mkdir()
    with pytest.raises(StartupError, match="limit is 107"):
        RuntimeDirectory(deep(tmp_path, 150), short_base=base).prepare()


def test_clear_stale_removes_the_dead_and_nothing_else(
    short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stale runner sockets go; live ones and what is no runner's socket stay."""
    directory = RuntimeDirectory(short / "run")
    directory.prepare()
    stale, live = directory.runner_socket("stale"), directory.runner_socket("live")
    engine = stale.with_suffix("") / "e.sock"
    engine.parent.mkdir()
    file, other = directory.runner_socket("file"), directory.runners / "other.sock"
    for path in (stale, engine, other):
        make_stale(path)
    file.write_text("precious")
    with bound(live) as listener:
        listener.listen()
        assert set(directory.clear_stale()) == {stale, engine}
        assert set(directory.runners.iterdir()) == {live, file, other}
    assert str(live) in caplog.text
