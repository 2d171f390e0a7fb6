"""Models that fail again and again: who is told what, and how seldom an engine is started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine, pass_trial
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LONG = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True, "ignore_eos": True}
SHORT = LONG | {"max_tokens": 1, "stream": False}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models."""
    folder = tmp_path_factory.mktemp("gguf")
    tiny.write_completion_model(folder / "tiny.gguf", context_length=8192)
    tiny.write_completion_model(folder / "other.gguf", name="other", seed=1)
    return folder


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with both models that notices a hang quickly."""
    settings = {"llama.cpp": {"threads": 1, "stop_grace": 0.5}}
    env = {"RUNNERD_HANG_TIMEOUT": "1", "RUNNERD_BACKENDS": json.dumps(settings)}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        yield daemon


def with_engine(faults: str, folder: Path) -> dict[str, str]:
    """Return the environment of a daemon whose engine has these faults.

    One that remembers something writes where engines may not.
    """
    remembers = faults == "crash-first-load"
    path = str(fake_engine(folder, faults))
    settings = {"llama.cpp": {"path": path, "sandbox": not remembers}}
    return {"RUNNERD_BACKENDS": json.dumps(settings)}


def starts(daemon: DaemonProcess) -> int:
    """Return how many engines the daemon has started."""
    return daemon.text().count(": starting /")


def test_model_that_cannot_load_is_not_started_for_every_request(
    tmp_path: Path, gguf: Path
) -> None:
    """One load fails; a hundred requests after it get its reason and start nothing."""
    with running(tmp_path, env=with_engine("exit-at-once", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        first = daemon.http.post("/v1/completions", json=SHORT)
        assert first.status_code == 502, first.text
        assert "unable to load runner" in first.json()["error"]["message"]
        for _ in range(100):
            response = daemon.http.post("/v1/completions", json=SHORT)
            assert response.status_code == 502
            assert 1 <= int(response.headers["retry-after"]) <= 80
            assert "exit status 1" in response.json()["error"]["message"]
            assert "not tried again" in response.json()["error"]["message"]
        assert starts(daemon) == 1
        [failed] = daemon.ps()
        assert (failed["state"], failed["in_use"]) == ("failed", False)
        assert "exit status 1" in failed["failure"]
        assert failed["retry_at"] is not None
        command = [sys.executable, "-m", "runnerd", "--host", daemon.address, "ps"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert re.search(r"^tiny: .*exit status 1.* \(not tried again for \d+ s", shown, re.M)
        assert daemon.http.get("/health").json()["runners"] == 0


def test_a_crash_while_loading_is_made_good_once(tmp_path: Path, gguf: Path) -> None:
    """Whoever waited for that load is served by the next one; a second crash is told."""
    with running(tmp_path / "a", env=with_engine("crash-first-load", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        with ThreadPoolExecutor(10) as pool:
            asked = [pool.submit(daemon.http.post, "/v1/completions", json=LONG) for _ in range(10)]
        assert [each.result().status_code for each in asked] == [200] * 10
        assert starts(daemon) == 2
    with running(tmp_path / "b", env=with_engine("abort-at-once", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        told = daemon.http.post("/v1/completions", json=SHORT)
        assert (told.status_code, starts(daemon)) == (502, 2)
        assert "SIGABRT" in told.json()["error"]["message"]


def test_unload_spares_a_load_that_is_waited_for(tmp_path: Path, gguf: Path) -> None:
    """Who waits is not refused, unless the owner insists."""
    with running(tmp_path, env=with_engine("never-ready", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(daemon.http.post, "/v1/completions", json=SHORT)
            wait_for(lambda: daemon.ps() and daemon.ps()[0]["waiting"], "the request to wait")
            unload = {"models": ["tiny"]}
            with daemon.client() as owner:
                spared = owner.post("/engines/unload", json=unload)
                assert spared.json() == {"unloaded_runners": 0, "runners_in_use": 1}
                assert not waiting.done()
                ended = owner.post("/engines/unload", json=unload | {"force": True})
                assert ended.json() == {"unloaded_runners": 1}
            assert waiting.result().status_code == 409


def test_unload_by_force_ends_what_is_in_use(daemon: DaemonProcess) -> None:
    """A stream that is on its way ends with an error, and the runner is gone."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as busy:
        lines = busy.iter_lines()
        next(lines)
        assert daemon.http.post("/engines/unload", json={"all": True}).json() == {
            "unloaded_runners": 0,
            "runners_in_use": 1,
        }
        forced = daemon.http.post("/engines/unload", json={"all": True, "force": True})
        assert forced.json() == {"unloaded_runners": 1}
        assert "unloaded while it answered" in "".join(lines)
        assert daemon.ps() == []


def test_owner_can_try_a_failed_model_at_once(tmp_path: Path, gguf: Path) -> None:
    """A load, an unload and a change of the configuration each allow one more try."""
    with running(tmp_path, env=with_engine("exit-at-once", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.http.post("/v1/completions", json=SHORT)
        load = daemon.http.post("/v1/completions", json=SHORT, headers={"X-Preload-Only": "true"})
        assert load.status_code == 502
        assert starts(daemon) == 2
        daemon.http.post("/engines/unload", json={"all": True})
        assert daemon.ps() == []
        daemon.http.post("/v1/completions", json=SHORT)
        assert starts(daemon) == 3
        change = {"model": "tiny", "context-size": 512}
        assert daemon.http.post("/engines/_configure", json=change).status_code == 202
        daemon.http.post("/v1/completions", json=SHORT)
        assert starts(daemon) == 4
        daemon.http.post("/v1/completions", json=SHORT)
        assert starts(daemon) == 4


def test_hanging_engine_is_replaced_and_its_requests_are_told(daemon: DaemonProcess) -> None:
    """An engine that gives no sign of life: 504 for its request, and the next one is served."""
    daemon.http.post("/v1/completions", json=SHORT)
    [engine] = daemon.engines()
    engine.suspend()
    answers: list[httpx.Response] = []
    with daemon.client() as client:
        request = client.build_request("POST", "/v1/completions", json=SHORT)
        thread = threading.Thread(target=lambda: answers.append(client.send(request)))
        thread.start()
        other = daemon.http.post("/v1/completions", json=SHORT | {"model": "other"})
        assert other.status_code == 200, "another model notices nothing"
        thread.join(60)
    assert answers[0].status_code == 504, answers[0].text
    assert "no sign of life" in answers[0].json()["error"]["message"]
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    assert not engine.is_running()


def test_engine_that_is_slow_but_sends_is_no_hang(tmp_path: Path, gguf: Path) -> None:
    """Whoever sends tokens is alive, whatever its health says."""
    env = with_engine("slow-stream", tmp_path) | {"RUNNERD_HANG_TIMEOUT": "0.3"}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as sse:
            pieces = sse.iter_text()
            text = ""
            while text.count("data: ") < 100:
                text += next(pieces)
        assert "hang_timeout" not in daemon.text()


def test_crashing_engine_is_started_again_later_and_later(daemon: DaemonProcess) -> None:
    """The first crash costs nothing, the second makes its requests wait, and each is served."""
    for _ in range(3):
        response = daemon.http.post("/v1/completions", json=SHORT)
        assert response.status_code == 200, response.text
        [engine] = daemon.engines()
        engine.kill()
        wait_for(lambda: [r["state"] for r in daemon.ps()] == ["failed"], "its end to be noticed")
    [failed] = daemon.ps()
    assert "SIGKILL" in failed["failure"]
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    assert [runner["state"] for runner in daemon.ps()] == ["ready"]


def test_memory_that_runs_out_is_a_507_that_says_what_to_do(tmp_path: Path, gguf: Path) -> None:
    """Nothing else is loaded and memory runs out: told at once, with the engine's words."""
    with running(tmp_path, env=with_engine("out-of-memory", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        response = daemon.http.post("/v1/completions", json=SHORT)
        assert response.status_code == 507, response.text
        message = response.json()["error"]["message"]
        assert "not enough memory" in message
        assert "smaller context" in message
        assert "cudaMalloc failed" in message
        assert response.headers["x-should-retry"] == "false"
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 502
        assert starts(daemon) == 1


def test_a_request_that_kills_engines_is_refused(tmp_path: Path, gguf: Path) -> None:
    """Two engines die of it, a third one is not even asked; others are served by that one."""
    poison = SHORT | {"raw": "HTTP/1.1 200 OK\r\n", "then": "abort"}
    with running(tmp_path, env=with_engine("", tmp_path)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        for _ in range(2):
            died = daemon.http.post("/v1/completions", json=poison)
            assert died.status_code == 502
            assert "SIGABRT" in died.json()["error"]["message"]
        served = SHORT | {"stream": True}
        wait_for(
            lambda: daemon.http.post("/v1/completions", json=served).status_code == 200,
            "another request to be served",
        )
        for path in ("/v1/completions", "/engines/v1/completions"):
            refused = daemon.http.post(path, json=poison)
            assert refused.status_code == 422
            assert refused.json()["error"]["code"] == "harmful_request"
            assert "SIGABRT" in refused.json()["error"]["message"]
            assert int(refused.headers["retry-after"]) > 500
            assert refused.headers["x-should-retry"] == "false"
        assert daemon.http.post("/v1/completions", json=served).status_code == 200
        assert starts(daemon) == 3
        assert daemon.http.get("/engines/requests").json()[-2]["status_code"] == 422


@pytest.mark.parametrize(("kills", "status"), [(1, 200), (2, 502)])
def test_engine_that_is_killed_while_it_loads(
    tmp_path: Path, gguf: Path, kills: int, status: int
) -> None:
    """Ten clients wait for it: they wait for the second try; are told if that is killed as well."""
    runs = tmp_path / "runs"
    runs.mkdir()
    slow, sound = fake_engine(tmp_path, "never-ready"), fake_engine(tmp_path)
    engine = tmp_path / "llama-server"
    engine.write_text(
        f"""#!/bin/sh
case "$*" in *--host*) number=$(ls {runs} | wc -l); touch {runs}/$number ;; *) number=99 ;; esac
if [ $number -lt {kills} ]; then exec {slow} "$@"; else exec {sound} "$@"; fi
"""
    )
    engine.chmod(0o755)
    pass_trial(engine)
    settings = {"llama.cpp": {"path": str(engine), "sandbox": False}}  # it writes down its runs
    with running(tmp_path, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")

        def ask(_: int) -> httpx.Response:
            with daemon.client() as client:
                return client.post("/v1/completions", json=SHORT | {"stream": True})

        with ThreadPoolExecutor(10) as clients:
            answers = clients.map(ask, range(10))
            for number in range(kills):
                wait_for(lambda: len(list(runs.iterdir())) == number + 1, "a load")  # noqa: B023
                wait_for(lambda: daemon.http.get("/health").json()["queued"] == 10, "all to wait")
                wait_for(lambda: len(daemon.engines()) == 1, "its process")
                [loading] = daemon.engines()
                loading.kill()
            outcomes = list(answers)
        assert [response.status_code for response in outcomes] == [status] * 10
        assert len(list(runs.iterdir())) == 2
        if status == 502:
            assert "SIGKILL" in outcomes[0].json()["error"]["message"]
