"""Starts over what should not be there: anything, in place of any of the daemon's files."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runnerd import config
from runnerd.daemon import Daemon
from runnerd.errors import StartupError
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.long

SLOT = "00000001764000000000-0000"
# What the daemon serves without.  Folders and what lies in them cannot both be wrong.
FOLDERS = (
    "logs", "slots", "images", "engines",
    "models/tmp", "models/parts", "models/uploads", "models/bundles/sha256",
)  # fmt: skip
FILES = (
    "logs/runnerd.log", "logs/runnerd.log.1", "logs/engines", "configurations.json",
    f"slots/{SLOT}.json", f"slots/{SLOT}.0.slot", "slots/mine.json", "models/spare",
    f"models/tmp/1-{'a' * 16}", f"models/parts/{'a' * 64}.part", f"models/parts/{'b' * 64}.json",
    f"models/uploads/{'c' * 64}", f"models/blobs/sha256/{'d' * 64}",
    f"models/manifests/sha256/{'e' * 64}", f"models/bundles/sha256/{'f' * 64}",
    "runnerd.db", "runnerd.db-wal", "runnerd.db-shm", "runnerd.db-journal",
)  # fmt: skip
# What it cannot serve without.
VITAL_FOLDERS = (".", "models", "models/blobs", "models/blobs/sha256", "models/manifests/sha256")
VITAL_FILES = ("lock", "models/layout.json", "models/index.json")

Wrong = Callable[[Path, Path], None]


def _write(content: bytes) -> Wrong:
    return lambda path, home: (path.write_bytes(content), None)[1]


def _huge(path: Path, home: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def _socket(path: Path, home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        short = Path("/tmp") / f"rd-{os.getpid()}"
        listener.bind(str(short))
        os.rename(short, path)


def _link_to_file(path: Path, home: Path) -> None:
    path.symlink_to(home / "mine.txt")


def _locked_up(path: Path, home: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


def _of_somebody(path: Path, home: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    path.write_bytes(b"{}")
    os.chown(path, 12345, 12345)


DEEP = b"[" * 200_000
FILE_FAULTS: dict[str, Wrong] = {
    "a pipe": lambda path, home: os.mkfifo(path),
    "a folder": lambda path, home: (path / "inside").mkdir(parents=True),
    "a socket": _socket,
    "a link loop": lambda path, home: path.symlink_to(path),
    "a dangling link": lambda path, home: path.symlink_to(home / "nowhere"),
    "a link to a file of somebody's": _link_to_file,
    "deep text": _write(DEEP),
    "no text": _write(b"\xff\xfe\x00\x9f" * 100),
    "another document": _write(b'{"a": [1, {"b": null}]}'),
    "a terabyte": _huge,
    "locked up": _locked_up,
    "of somebody else": _of_somebody,
}
FOLDER_FAULTS: dict[str, Wrong] = {
    "a file": _write(b"x"),
    "a pipe": lambda path, home: os.mkfifo(path),
    "a link loop": lambda path, home: path.symlink_to(path),
    "a dangling link": lambda path, home: path.symlink_to(home / "nowhere"),
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file of somebody's, which nothing may touch."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine.txt").write_text("mine")
    (home / "mine.txt").chmod(0o644)
    yield home
    for path in tmp_path.rglob("*"):
        if path.is_socket():  # our own
            path.unlink()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """A daemon inside the test sets the log up for itself."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


@pytest.fixture(scope="module")
def once_used(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Path:
    """The folder of a daemon that has run, with one model."""
    root = tmp_path_factory.mktemp("once")
    with running(root) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
    return root


@pytest.fixture
def used(tmp_path: Path, once_used: Path) -> Path:
    """A copy of that folder, with everything in it as it was."""
    root = tmp_path / "used"
    subprocess.run(["cp", "--archive", str(once_used), str(root)], check=True)
    return root


def put(fault: Wrong, path: Path, home: Path) -> None:
    """Put something wrong in place of what is at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    fault(path, home)


def serves(daemon: DaemonProcess) -> None:
    """See that a daemon lists its model, runs it and ends well."""
    assert [model["tags"] for model in daemon.http.get("/models").json()] == [["ai/tiny:latest"]]
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    response = daemon.http.post("/v1/chat/completions", json=chat)
    assert response.status_code == 200, response.text
    assert daemon.terminate() == 0


@pytest.mark.engine
@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        *(pytest.param(FILES, fault, id=f"files: {name}") for name, fault in FILE_FAULTS.items()),
        *(
            pytest.param(FOLDERS, fault, id=f"folders: {name}")
            for name, fault in FOLDER_FAULTS.items()
        ),
    ],
)
def test_what_is_served_without(
    paths: tuple[str, ...], fault: Wrong, used: Path, home: Path
) -> None:
    """Logs, caches, configurations and leftovers may be anything: the models are served."""
    before = (home / "mine.txt").stat()
    for path in paths:
        put(fault, used / "state" / path, home)
    with running(used) as daemon:
        serves(daemon)
    assert (home / "mine.txt").stat() == before
    assert sorted(path.name for path in home.iterdir()) == ["mine.txt"]


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Let nobody change a file or folder; skips the test where that is not possible."""
    done = shutil.which("chattr") and subprocess.run(["chattr", "+i", path], capture_output=True)
    if not done or done.returncode:
        pytest.skip("nothing can be made immutable here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.engine
@pytest.mark.parametrize(
    "path",
    ["logs", "logs/runnerd.log", "slots", "configurations.json", "models", "models/index.json",
     "models/tmp", "models/blobs/sha256"],
)  # fmt: skip
def test_what_may_not_be_changed(path: str, used: Path) -> None:
    """What is immutable is served, and a change that it prevents is refused with its reason."""
    if path == "configurations.json":
        (used / "state" / path).write_text("[]")
    with immutable(used / "state" / path), running(used) as daemon:
        keep = {"model": "tiny", "keep_alive": "5m"}
        answers = [
            daemon.http.post("/models/tiny/tag?repo=other&tag=x", headers=JSON),
            daemon.http.post("/engines/_configure", json=keep, headers=JSON),
            daemon.http.delete("/models/other:x", headers=JSON),
        ]
        for response in answers:
            assert response.status_code in (200, 201, 202, 404, 507), response.text
            if response.status_code == 507:
                assert "immutable" in response.json()["error"]["message"]
        statuses = [response.status_code for response in answers]
        if path in ("models", "models/index.json", "models/tmp"):
            assert statuses[0] == 507
        if path == "configurations.json":
            assert statuses[1] == 507
        serves(daemon)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        *(
            pytest.param(path, fault, id=f"{path}: {name}")
            for path in VITAL_FILES
            for name, fault in FILE_FAULTS.items()
            if not (path == "lock" and fault in (_of_somebody, _huge, _locked_up))
            and not (path == "lock" and name in ("deep text", "no text", "another document"))
        ),
        *(
            pytest.param(path, fault, id=f"{path}: {name}")
            for path in VITAL_FOLDERS
            for name, fault in FOLDER_FAULTS.items()
        ),
    ],
)
async def test_what_is_not_served_without(
    path: str, fault: Wrong, tmp_path: Path, home: Path, logging_as_it_was: None
) -> None:
    """The start ends at once with one sentence, and leaves what it found."""
    state = tmp_path / "state"
    for folder in ("models/blobs/sha256", "models/manifests/sha256"):
        (state / folder).mkdir(parents=True)
    (state / "models" / "layout.json").write_text('{"version":"1.0.0"}')
    before = (home / "mine.txt").stat()
    put(fault, state / path, home)
    runtime = tmp_path / "run"
    settings = config.load({"state_dir": state, "runtime_dir": runtime, "listen": ""})
    with pytest.raises(StartupError) as caught:
        async with asyncio.timeout(LIMIT):
            await Daemon(settings, lambda: settings).run()
    assert "\n" not in caught.value.message
    assert str(state) in caught.value.message
    assert os.path.lexists(state / path)
    assert (home / "mine.txt").stat() == before


@pytest.mark.parametrize(("name", "fault"), FILE_FAULTS.items())
def test_a_settings_file_that_is_none(
    name: str, fault: Wrong, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settings file that cannot be one is told in one sentence; a link to one is followed."""
    path = tmp_path / "runnerd.toml"
    fault(path, home)
    monkeypatch.setenv("RUNNERD_CONFIG", str(path))
    with pytest.raises(StartupError) as caught:
        config.load({})
    assert str(path) in caught.value.message or "wrong settings" in caught.value.message
    path.unlink() if not path.is_dir() or path.is_symlink() else shutil.rmtree(path)
    (tmp_path / "real.toml").write_text("turn = 7.0\n")
    path.symlink_to(tmp_path / "real.toml")
    assert config.load({}).turn == 7.0


def test_one_wrong_configuration_leaves_the_others(tmp_path: Path, gguf: Path) -> None:
    """The daemon starts with the others in force, says which it was, and takes changes."""
    file = tmp_path / "d" / "state" / "configurations.json"
    with running(tmp_path / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        right = {"model": "tiny", "context-size": 320}
        assert daemon.http.post("/engines/_configure", json=right).status_code == 202
    wrong = {"backend": "llama.cpp", "model": "sha256:gone", "mode": "completion",
             "configuration": {"of-a-newer-version": True}}  # fmt: skip
    file.write_text(json.dumps([wrong, *json.loads(file.read_text())]))
    with running(tmp_path / "d") as daemon:
        assert "of-a-newer-version" in daemon.text()
        [entry] = daemon.http.get("/engines/_configure").json()
        assert entry["Config"] == {"context-size": 320}
        keep = {"keep_alive": "5m"}
        assert daemon.http.post("/models/tiny/configure", json=keep).status_code == 202
    assert json.loads(file.with_name("configurations.json.unusable").read_text()) == [wrong]
    assert json.loads(file.read_text())[0]["configuration"]["keep_alive"] == "5m"


def test_damaged_configurations_are_kept(tmp_path: Path) -> None:
    """What cannot be read is moved aside under a free name, each time."""
    from runnerd.configurations import Configurations

    file = tmp_path / "configurations.json"
    for content in (DEEP, b"\xff", b"[1]", b'{"a": 1}', json.dumps([{"mode": []}]).encode()):
        file.write_bytes(content)
        Configurations(file).open()
        assert not file.exists()
    assert len(list(tmp_path.iterdir())) == 5
