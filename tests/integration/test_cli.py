"""The command line as people use it: real processes against a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with an empty store."""
    with running(tmp_path_factory.mktemp("cli")) as daemon:
        yield daemon


def runnerd(daemon: DaemonProcess, *arguments: str, text: str = "") -> tuple[int, str, str]:
    """Run one command; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_models_way_through_the_commands(daemon: DaemonProcess, gguf: Path) -> None:
    """import, ls, show, tag, load, ps, run, configure, unload and rm, as people use them."""
    status, out, err = runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "mine")
    assert (status, err) == (0, "")
    assert "imported mine" in out
    assert "mine" in runnerd(daemon, "ls")[1]
    [listed] = json.loads(runnerd(daemon, "ls", "--json")[1])
    assert json.loads(runnerd(daemon, "show", "mine", "--json")[1]) == listed
    assert runnerd(daemon, "tag", "mine", "other:v1")[1].strip() == "ai/other:v1"
    assert runnerd(daemon, "load", "mine")[0] == 0
    assert [r["state"] for r in json.loads(runnerd(daemon, "ps", "--json")[1])] == ["ready"]
    status, out, _ = runnerd(daemon, "run", "mine", "Hello", "--max-tokens", "5")
    assert status == 0
    assert out.strip()
    assert runnerd(daemon, "run", "mine", "--max-tokens", "5", text="Hello")[0] == 0
    assert (
        runnerd(daemon, "configure", "mine", "--context-size", "512", "--", "--temp", "0")[0] == 0
    )
    assert runnerd(daemon, "unload", "--all")[0] == 0
    assert runnerd(daemon, "rm", "other:v1")[0] == 0
    assert "Deleted" in runnerd(daemon, "rm", "mine")[1]
    assert json.loads(runnerd(daemon, "ls", "--json")[1]) == []


def test_failures_are_one_clear_line(daemon: DaemonProcess, tmp_path: Path) -> None:
    """What fails exits with 1 and one line on stderr; wrong usage exits with 2."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    for arguments in (["show", "nowhere"], ["import", str(broken)], ["load", "nowhere"]):
        status, _, err = runnerd(daemon, *arguments)
        assert status == 1
        assert err.startswith("runnerd: ")
        assert err.count("\n") == 1
    assert runnerd(daemon, "no-such-command")[0] == 2


def test_no_daemon_says_how_to_start_one(tmp_path: Path) -> None:
    """Without a daemon every command says where it looked and what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{tmp_path}/none.sock", "ps"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "runnerd serve" in done.stderr


def test_host_commands(daemon: DaemonProcess) -> None:
    """status, logs, version and doctor."""
    status = json.loads(runnerd(daemon, "status", "--json")[1])
    assert status["health"]["status"] == "ok"
    assert "listening on" in runnerd(daemon, "logs")[1]
    assert runnerd(daemon, "version")[1].startswith("runnerd ")
    found = {f["what"]: f["state"] for f in json.loads(runnerd(daemon, "doctor", "--json")[1])}
    assert found["llama-server"] == "ok"


def test_help_imports_nothing_heavy() -> None:
    """`runnerd --help` is quick because it loads nothing that it does not need."""
    code = (
        "import sys; sys.argv = ['runnerd', '--help']\n"
        "from runnerd.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'pydantic', 'rich', 'uvloop', 'gguf', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
