"""The command line as people use it: real processes against a real daemon."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.cli.client import Client, DaemonError
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
    assert status == 0
    assert "copied: " in err or "cloned: " in err
    assert "imported mine" in out
    assert "mine" in runnerd(daemon, "ls")[1]
    [listed] = json.loads(runnerd(daemon, "ls", "--json")[1])
    assert json.loads(runnerd(daemon, "show", "mine", "--json")[1]) == listed
    assert runnerd(daemon, "tag", "mine", "other:v1")[1].strip() == "other:v1"
    assert runnerd(daemon, "load", "mine")[0] == 0
    assert [r["state"] for r in json.loads(runnerd(daemon, "ps", "--json")[1])] == ["ready"]
    status, out, _ = runnerd(daemon, "run", "mine", "Hello", "--max-tokens", "5")
    assert status == 0
    assert out.strip()
    assert runnerd(daemon, "run", "mine", "--max-tokens", "5", text="Hello")[0] == 0
    assert (
        runnerd(daemon, "configure", "mine", "--context-size", "512", "--", "--temp", "0")[0] == 0
    )
    assert runnerd(daemon, "configure", "mine", "--keep-alive", "-1")[0] == 0
    fields = ("--set", "max_instances=2", "--set", "exclusive_group=big", "--unset", "pinned")
    assert runnerd(daemon, "configure", "mine", *fields)[0] == 0
    code, _, errors = runnerd(daemon, "configure", "mine", "--set", "max_instances=many")
    assert code == 1
    assert "max_instances" in errors
    assert runnerd(daemon, "load", "mine")[0] == 0
    shown = runnerd(daemon, "ps")[1]
    assert "never" in shown
    assert re.search(r"mine +completion +ready +512 +0/4 ", shown), shown
    described = runnerd(daemon, "show", "mine")[1]
    assert "completion, ready, at once 4 x 512, " in described
    assert re.search(r"^engine: +llama\.cpp \S+", described, re.MULTILINE), described
    for name in ("mine", "other:v1"):  # what was asked for, whatever else it is called
        assert re.search(rf"^fits: +{name} needs ", runnerd(daemon, "show", name)[1], re.MULTILINE)
    code, table, _ = runnerd(daemon, "requests")
    assert code == 0
    assert any(line.split()[2:4] == ["mine", "load"] for line in table.splitlines())
    assert runnerd(daemon, "unload", "--all") == (0, "unloaded 1\n", "")
    assert runnerd(daemon, "unload", "--all") == (0, "nothing was loaded\n", "")
    assert runnerd(daemon, "rm", "other:v1")[0] == 0
    assert "Deleted" in runnerd(daemon, "rm", "mine")[1]
    assert json.loads(runnerd(daemon, "ls", "--json")[1]) == []


def test_a_name_is_never_a_path(daemon: DaemonProcess, gguf: Path) -> None:
    """`DELETE /models/purge` removes all models; `rm purge` one that is called so, or none."""
    assert runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "mine")[0] == 0
    for name in ("purge", "pulls", "purge/", "x/../purge", "../models/purge", "purge?force=true"):
        status, _, errors = runnerd(daemon, "rm", name, "--force")
        assert (status, "not found" in errors) == (1, True), name
    for name in ("purge", "pulls", "pulls/some"):
        assert runnerd(daemon, "tag", "mine", name)[0] == 0
        assert runnerd(daemon, "show", name)[0] == 0
        assert "Untagged" in runnerd(daemon, "rm", name)[1]
    assert "Deleted" in runnerd(daemon, "rm", "mine")[1]


def test_configure_alone_shows_what_is_configured(daemon: DaemonProcess, gguf: Path) -> None:
    """Nothing is changed by a command that says nothing to change."""
    assert runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "mine")[0] == 0
    assert "nothing is configured" in runnerd(daemon, "configure", "mine")[1]
    assert (
        runnerd(daemon, "configure", "mine", "--context-size", "512", "--set", "pinned=true")[0]
        == 0
    )
    shown = runnerd(daemon, "configure", "mine")
    assert shown[0] == 0
    for line in ("mine (completion)", "context-size = 512", "pinned = true"):
        assert line in shown[1]
    assert "nothing is configured" in runnerd(daemon, "configure", "mine", "--mode", "embedding")[1]
    unset = ("--unset", "context-size", "--unset", "pinned")
    assert runnerd(daemon, "configure", "mine", *unset)[0] == 0
    assert "nothing is configured" in runnerd(daemon, "configure", "mine")[1]
    assert runnerd(daemon, "rm", "mine")[0] == 0


def test_what_is_mistyped_is_told_in_words(daemon: DaemonProcess) -> None:
    """An empty name is none, and an id of no pull is told where there are some."""
    for command in (("rm", ""), ("show", ""), ("load", ""), ("unload", " "), ("tag", "x", "")):
        code, _, errors = runnerd(daemon, *command)
        assert (code, "the name is empty; `runnerd ls`" in errors) == (2, True), command
    for ids in (("zz",), ("localhost:1/x/y:big",), ("zz", "localhost:1/x/y:big"), ("../ps",)):
        code, _, errors = runnerd(daemon, "cancel", *ids)
        assert code == 1
        assert f"no pull or push {ids[0]!r} is under way" in errors
        assert "`runnerd pulls` lists them" in errors


def test_files_are_imported_and_addresses_pulled(
    daemon: DaemonProcess, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes one command for the other is told so; the name is told that a file was given."""
    for where in ("https://example.org/x.gguf", "hf.co/org/repo"):
        code, _, errors = runnerd(daemon, "import", where)
        assert (code, f"`runnerd pull {where}`" in errors) == (1, True)
    monkeypatch.chdir(gguf)
    for command in ("run", "load", "show", "pull"):
        code, _, errors = runnerd(daemon, command, "./tiny.gguf")
        assert (code, "`runnerd import ./tiny.gguf`" in errors) == (2, True)
    for words in (("run", "tiny.gguf", "Hello"), ("pull", "tiny.gguf")):
        code, _, errors = runnerd(daemon, *words)
        assert (code, "`runnerd import tiny.gguf`" in errors) == (1, True), errors
    assert runnerd(daemon, "import", "tiny.gguf", "--tag", "one")[1].startswith("imported one (")
    out = runnerd(daemon, "import", "tiny.gguf", "--tag", "Two:x")[1]
    assert re.fullmatch(r"imported two:x \(sha256:\w+\), also called one\n", out)
    out = runnerd(daemon, "import", "tiny.gguf")[1]
    assert re.fullmatch(r"imported tiny\S* \(sha256:\w+\), also called one, two:x\n", out), out
    for name in json.loads(runnerd(daemon, "ls", "--json")[1])[0]["tags"]:
        assert runnerd(daemon, "rm", name)[0] == 0


def test_purge_is_not_a_model(daemon: DaemonProcess, gguf: Path) -> None:
    """`DELETE /models/purge` removes nothing while a model has that name, unless all are meant."""
    assert runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "purge")[0] == 0
    refused = daemon.http.delete("/models/purge")
    assert (refused.status_code, "all=true" in refused.text) == (409, True)
    assert "ai/purge:latest" in runnerd(daemon, "ls", "--json")[1]
    assert daemon.http.delete("/models/purge?all=true").status_code == 200
    assert json.loads(runnerd(daemon, "ls", "--json")[1]) == []


def test_large_files_are_sent_to_a_daemon_that_cannot_read_them(
    daemon: DaemonProcess, gguf: Path, tmp_path: Path
) -> None:
    """Over TCP the command sends what it reads, in little memory, and names the model."""
    large = tmp_path / "large.gguf"
    large.write_bytes((gguf / "other.gguf").read_bytes())
    os.truncate(large, 192 * 2**20)  # sparse; bytes behind the tensors do no harm
    code = (
        "import sys; from runnerd.__main__ import main; main()\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
    )
    arguments = ["--host", daemon.address, "import", str(large), "--tag", "big:v2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said, peak = done.stdout.splitlines()
    assert said.startswith("imported big:v2 ")
    assert int(peak) < 120 * 2**10  # KiB
    assert runnerd(daemon, "rm", "big:v2")[0] == 0


def test_a_refusal_in_the_middle_of_sending_shows_its_reason() -> None:
    """What is answered before everything was read is not lost in a broken pipe."""
    body = b'{"error": {"message": "the disk is full"}}'
    head = b"HTTP/1.1 507 Full\r\nContent-Length: %d\r\n\r\n" % len(body)

    def refuse(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as server:
        refusing = threading.Thread(target=refuse, args=(server,))
        refusing.start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}")
        endless = (bytes(2**16) for _ in itertools.count())
        with pytest.raises(DaemonError, match="the disk is full"):
            client.open("POST", "/models/load", headers={"Content-Length": "9" * 12}, body=endless)
        refusing.join()


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


def test_a_closed_pipe_is_quiet(daemon: DaemonProcess) -> None:
    """`runnerd logs | head -1` ends without a complaint."""
    command = f"{sys.executable} -m runnerd --host unix://{daemon.socket} logs | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


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
    findings = json.loads(runnerd(daemon, "doctor", "--json")[1])
    assert all(f["remedy"] for f in findings if f["state"] in ("missing",))
    found = {f["what"]: f["state"] for f in findings}
    assert found["llama-server"] == found["daemon"] == found["Python"] == "ok"


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("ls", "--json"),
        ("ps",),
        ("pulls",),
        ("status",),
        ("logs",),
        ("version",),
        ("doctor",),
    ],
)
def test_output_that_cannot_be_written(daemon: DaemonProcess, arguments: tuple[str, ...]) -> None:
    """A full disk behind `>` is an error in one line."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "runnerd: the output cannot be written: No space left on device\n"


def test_requests_says_how_their_content_is_kept(daemon: DaemonProcess) -> None:
    """The list, and the setting that shows more."""
    code, out, errors = runnerd(daemon, "requests")
    assert (code, "STATUS" in out, "capture_requests" in errors) == (0, True, True)
    assert isinstance(json.loads(runnerd(daemon, "requests", "--json")[1]), list)


def test_cancel_names_commands(daemon: DaemonProcess) -> None:
    """Who uses the command is told of commands."""
    code, _, errors = runnerd(daemon, "cancel", "nothing")
    assert (code, "`runnerd pulls` lists them" in errors, "GET" in errors) == (1, True, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_socket_that_one_may_not_connect_to(daemon: DaemonProcess) -> None:
    """It is told as that, and not as a daemon that is not there; in its folder, too."""
    code = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from runnerd.cli import client\n"
        "try: client.Client().json('GET', '/version')\n"
        "except client.DaemonError as error: print(error.message)\n"
    )
    for variables in (
        {"RUNNERD_SOCKET": str(daemon.socket)},
        {"RUNNERD_RUNTIME_DIR": str(daemon.runtime_dir)},
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import runnerd.cli.client, json\n{code}"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert "permission denied" in done.stdout, done.stderr
        assert "usermod" in done.stdout
        assert "serve" not in done.stdout


def test_a_named_socket_is_the_only_one_that_is_asked(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """With no daemon at it the command fails; another daemon of the host is not used instead."""
    for variable in ("RUNNERD_SOCKET", "RUNNERD_RUNTIME_DIR"):
        done = subprocess.run(
            [sys.executable, "-m", "runnerd", "ls"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(daemon.runtime_dir.parent),
                 variable: str(tmp_path / "none")},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"no daemon answers at unix://{tmp_path / 'none'}" in done.stderr
        assert "(No such file or directory)" in done.stderr


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    """Without engine, compiler, daemon and a free port: each has a remedy, and the status is 1."""
    (tmp_path / "a file").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "PATH": str(tmp_path),
            "RUNNERD_LISTEN": f"127.0.0.1:{server.getsockname()[1]}",
            "RUNNERD_STATE_DIR": str(tmp_path / "a file" / "state"),
            "RUNNERD_RUNTIME_DIR": str(tmp_path / "run"),
            "HOME": str(tmp_path),
        }
        code = (
            "import sys, sysconfig\n"
            "real = sysconfig.get_paths\n"
            "sysconfig.get_paths = lambda *a, **k: {**real(*a, **k), 'purelib': '/nonexistent'}\n"
            "sys.prefix = '/nonexistent'\n"
            "from runnerd.backends.llamacpp import places; places._USUAL = ()\n"  # of this host
            "sys.argv = ['runnerd', '--host', 'unix:///nonexistent', 'doctor', '--json']\n"
            "from runnerd.__main__ import main; sys.exit(main())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
    assert (done.returncode, done.stderr) == (1, "")
    found = {f["what"]: f for f in json.loads(done.stdout)}
    missing = {"llama-server", "state directory", "TCP port"}
    assert {name for name, finding in found.items() if finding["state"] == "missing"} == missing
    assert found["C++ compiler"]["state"] == found["daemon"]["state"] == "warning"
    assert all(found[name]["remedy"] for name in (*missing, "C++ compiler", "daemon"))


def test_a_name_behind_a_file(daemon: DaemonProcess, gguf: Path) -> None:
    """It is not taken for a second file after the first was imported."""
    code, _, errors = runnerd(daemon, "import", str(gguf / "tiny.gguf"), "team/mine:v1.5")
    assert (code, "`--tag team/mine:v1.5` gives tiny.gguf that name" in errors) == (1, True)
    assert json.loads(runnerd(daemon, "ls", "--json")[1]) == []


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
