"""What `runnerd doctor` says of engines and cards."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import hardware, places
from runnerd.backends.llamacpp.hardware import Hardware
from runnerd.cli import doctor, doctor_engine
from runnerd.cli.doctor_engine import engine_findings
from runnerd.cli.findings import Finding
from runnerd.config import Settings
from tests.integration.test_cli import runnerd
from tests.support.builds import real_server
from tests.support.daemon import running
from tests.support.two_models import DEMO

SAYS = "*--verbosity*--list-devices) echo loaded CPU backend from /x/libggml-cpu-haswell.so"


def settings(folder: Path, **own: object) -> Settings:
    return Settings(state_dir=folder, backends={"llama.cpp": own})


def test_a_card_that_nothing_uses_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the one line that mends it; the engine itself is green, it has loaded models."""
    monkeypatch.setattr(hardware, "look", lambda: Hardware(nvidia=("/dev/nvidia0",)))
    first, second, *_ = engine_findings(settings(tmp_path, path=str(real_server())))
    assert (first.what, first.state) == ("GPU", "missing")
    assert "apt install nvidia-cuda-toolkit" in first.remedy
    assert first.remedy.endswith("runnerd install llama.cpp --with cuda")
    assert (second.what, second.state) == ("llama-server", "ok")
    assert "has loaded models here" in second.detail


def test_an_engine_that_dies_is_not_green(tmp_path: Path) -> None:
    """It is looked for where the daemon has it."""
    server = places.server_in(tmp_path / "engines", "vulkan")
    server.parent.mkdir(parents=True)
    server.write_text('#!/bin/sh\ncase "$*" in *--model*) kill -ILL $$;; esac\necho version: 1\n')
    server.chmod(0o755)
    (finding,) = (
        finding
        for finding in engine_findings(settings(tmp_path, server="vulkan"))
        if finding.what == "llama-server"
    )
    assert finding.state == "missing"
    assert "SIGILL" in finding.detail
    assert "--rebuild" in finding.detail
    verdicts = json.loads((tmp_path / "engines" / ".trials.json").read_text())
    assert [verdict["state"] for verdict in verdicts.values()] == ["dies"]


def test_as_whom_engines_of_somebody_elses_daemon_run_is_not_guessed(tmp_path: Path) -> None:
    """This command knows its own rights, which are not those of a daemon of another user."""
    server = settings(tmp_path, path=str(real_server()))
    for theirs in (True, False):
        [found] = (f for f in engine_findings(server, theirs=theirs) if f.what == "engine users")
        assert found.detail.startswith("of a daemon that you start: ") == theirs


def test_which_code_a_portable_engine_picks(tmp_path: Path) -> None:
    """Doctor says it of the engine that it finds, `show` and the status of the one that serves."""
    server = tmp_path / "portable" / "llama-server"
    server.parent.mkdir()
    real = shlex.quote(str(real_server()))
    server.write_text(f'#!/bin/sh\ncase "$*" in {SAYS} ;; esac\nexec {real} "$@"\n')
    server.chmod(0o755)
    for name in ("haswell", "x64"):
        (server.parent / f"libggml-cpu-{name}.so").touch()
    [found] = (
        finding
        for finding in engine_findings(settings(tmp_path, path=str(server)))
        if (finding.what, finding.state) == ("llama-server", "ok")
    )
    assert ", its code for haswell)" in found.detail
    own = {"path": str(server), "sandbox_paths": [str(Path(real_server()).parents[1])]}
    backends = json.dumps({"llama.cpp": own | {"threads": 1, "memory_reserve": 16}})
    with running(tmp_path / "d", env={"RUNNERD_BACKENDS": backends}) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert runnerd(daemon, "load", "a")[0] == 0
        assert daemon.ps()[0]["engine"].endswith(", its code for haswell")
        shown = runnerd(daemon, "show", "a")[1]
        assert re.search(r"^engine: +llama.cpp .*, its code for haswell", shown, re.MULTILINE), (
            shown
        )
        assert ", its code for haswell" in runnerd(daemon, "status")[1]
        assert runnerd(daemon, "unload", "a")[0] == 0
        assert not re.search("^engine:", runnerd(daemon, "show", "a")[1], re.MULTILINE)


@pytest.mark.parametrize("theirs", [True, False])
def test_who_only_uses_somebody_elses_daemon_lacks_no_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], theirs: bool
) -> None:
    """The daemon that answers has its own: that this user has none is told, and is no failure."""
    lacking = Finding("llama-server", "missing", "none", "runnerd install llama.cpp")
    answers = Finding("daemon", "ok", "1.0 at unix:///run/runnerd/runnerd.sock")
    monkeypatch.setattr(doctor_engine, "engine_findings", lambda *_, **__: iter([lacking]))
    monkeypatch.setattr(doctor, "_daemon", lambda host: (answers, Path("/var/lib/runnerd")))
    monkeypatch.setattr(doctor, "_ours", lambda state_dir: not theirs)
    monkeypatch.setattr(doctor, "_settings", lambda: (Settings(), ""))
    status = doctor.doctor(argparse.Namespace(host=None, json=True))
    found = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["llama-server"]["state"] == ("warning" if theirs else "missing")
    assert ("has its own" in found["llama-server"]["detail"]) == theirs
    assert status == (0 if theirs else 1)
