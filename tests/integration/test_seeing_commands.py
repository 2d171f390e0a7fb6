"""The commands that show what a daemon does, as people and programs use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import runnerd
from tests.integration.test_overview import asking
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("seeing") / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.http.post("/v1/chat/completions", json=CHAT).raise_for_status()
        yield daemon


def parsed(daemon: DaemonProcess, *arguments: str) -> Any:
    status, out, err = runnerd(daemon, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_ps_and_df(daemon: DaemonProcess) -> None:
    """The runners as in the overview, and what lies on the disk."""
    [runner] = parsed(daemon, "ps")
    assert (runner["model"], runner["slots"]["all"]) == ("tiny", 4)
    assert "tiny" in runnerd(daemon, "ps")[1]
    assert parsed(daemon, "df")["models_disk_usage"] > 0
    out = runnerd(daemon, "df")[1]
    assert "tiny" in out
    assert str(daemon.state_dir) in out


def test_requests_that_run(daemon: DaemonProcess) -> None:
    """They are listed, and ended by their ids."""
    with daemon.client() as http, asking(http, **{"X-Request-Id": "mine"}):
        [running_now] = parsed(daemon, "requests", "--running", "tiny")
        assert running_now["id"] == "mine"
        assert "mine" in runnerd(daemon, "requests", "--running")[1]
        assert runnerd(daemon, "requests", "--cancel", "mine")[1].startswith("ended mine of uid ")
    status, _, err = runnerd(daemon, "requests", "--cancel", "mine")
    assert status == 1
    assert "no request 'mine' runs" in err
    assert any(each["id"] == "mine" for each in parsed(daemon, "requests"))


def test_logs(daemon: DaemonProcess) -> None:
    """The newest so many, of one model, as JSON."""
    assert len(runnerd(daemon, "logs", "-n", "2")[1].splitlines()) == 2
    lines = [json.loads(line) for line in runnerd(daemon, "logs", "tiny", "--json")[1].splitlines()]
    engine = parsed(daemon, "ps")[0]["id"]
    assert any(line.get("engine") == engine for line in lines)
    assert any("ready after" in line["message"] and line["level"] == "INFO" for line in lines)


def test_logs_without_a_daemon(tmp_path: Path) -> None:
    """Its files are read; where there are none, it is said that no daemon answers."""
    with running(tmp_path / "d") as daemon:
        state = daemon.state_dir
    environment = {
        **os.environ, "RUNNERD_STATE_DIR": str(state), "RUNNERD_RUNTIME_DIR": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }  # fmt: skip

    def logs(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runnerd", "logs", "-n", "5"],
            env=environment | env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    done = logs()
    assert done.returncode == 0, done.stderr
    assert "runnerd.daemon: stopped" in done.stdout.splitlines()[-1]
    assert f"{state / 'logs'} has" in done.stderr
    none = logs(RUNNERD_STATE_DIR=str(tmp_path / "none"))
    assert none.returncode == 1
    assert "no daemon answers" in none.stderr


def test_bench(daemon: DaemonProcess) -> None:
    """Speeds at several concurrencies, with a small plot."""
    flags = ("--concurrency", "1,3", "--prompt-tokens", "64", "--tokens", "16")
    rounds = parsed(daemon, "bench", "tiny", *flags)
    assert [each["clients"] for each in rounds] == [1, 3]
    for each in rounds:
        assert 0 < each["first_token"] <= each["worst_first_token"]
        assert each["prompt_tokens_per_second"] > 0
        assert each["tokens_per_second"] > 0
    status, out, err = runnerd(daemon, "bench", "tiny", *flags)
    assert status == 0, err
    assert len(out.splitlines()) == 3
    assert any(line.endswith("#" * 30) for line in out.splitlines())
    assert "tiny needs" in err
    assert runnerd(daemon, "bench", "no-such-model", *flags)[0] == 1
