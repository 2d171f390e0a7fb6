"""Loading, unloading, expiry and configuration of runners."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}

pytestmark = pytest.mark.engine


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with two models and a short idle timeout of its own choosing."""
    with running(tmp_path) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        yield daemon


def chat(daemon: DaemonProcess, model: str = "tiny") -> None:
    response = daemon.http.post("/v1/chat/completions", json=CHAT | {"model": model})
    assert response.status_code == 200, response.text


def test_ps_and_unload(daemon: DaemonProcess) -> None:
    """A runner shows in ps, is unloaded by name, and its process is gone when that is answered."""
    chat(daemon)
    chat(daemon, "other")
    assert {runner["model_name"] for runner in daemon.ps()} == {"tiny", "other"}
    assert len(daemon.engines()) == 2
    response = daemon.http.post("/engines/unload", json={"models": ["tiny"]})
    assert response.json() == {"unloaded_runners": 1}
    assert [runner["model_name"] for runner in daemon.ps()] == ["other"]
    assert len(daemon.engines()) == 1
    assert daemon.http.post("/engines/unload", json={"all": True}).json() == {"unloaded_runners": 1}
    assert daemon.engines() == []
    chat(daemon)


def test_idle_runner_stops(tmp_path: Path, gguf: Path) -> None:
    """After the idle timeout the engine is gone, and the next request starts another."""
    with running(tmp_path, env={"RUNNERD_IDLE_TIMEOUT": "0.2"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        chat(daemon)
        wait_for(lambda: daemon.ps() == [], "the idle engine to be stopped")
        assert daemon.engines() == []
        chat(daemon)


def test_one_runner_makes_room_for_the_other(tmp_path: Path, gguf: Path) -> None:
    """With room for one, two models take turns."""
    with running(tmp_path, env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        for model in ("tiny", "other", "tiny"):
            chat(daemon, model)
            assert [runner["model_name"] for runner in daemon.ps()] == [model]
            assert len(daemon.engines()) == 1


def test_configuration_is_merged_checked_persisted_and_used(daemon: DaemonProcess) -> None:
    """Our own route merges, refuses what is not allowed, survives a restart, reaches the engine."""
    configure, ours = "/engines/_configure", "/models/tiny/configure"
    chat(daemon)
    first = daemon.http.post(ours, json={"context-size": 512})
    assert first.status_code == 202, first.text
    assert daemon.ps() == []  # the runner with the old configuration is gone
    flags = {"raw-runtime-flags": "--temp 0.5 --parallel 2"}
    assert daemon.http.post(ours, json=flags).status_code == 202
    expected = {"context-size": 512, "runtime-flags": ["--temp", "0.5", "--parallel", "2"]}

    for bad in (["--log-file", "/tmp/x"], ["--model", "x"], ["--seed=--log-file=x"], ["x"]):
        refused = daemon.http.post(ours, json={"runtime-flags": bad})
        assert refused.status_code == 400, bad
        assert refused.json()["error"]["code"] == "invalid_configuration"
    assert daemon.http.post(configure, json={"model": "tiny", "n-gpu": 1}).status_code == 400
    assert daemon.http.post("/models/nowhere/configure", json={}).status_code == 404

    assert daemon.terminate() == 0
    daemon.start()
    [stored] = daemon.http.get(configure, params={"model": "tiny"}).json()
    assert stored["Config"] == expected
    chat(daemon)
    [engine] = daemon.engines()
    arguments = engine.cmdline()
    assert arguments[arguments.index("--ctx-size") + 1] == "1024"  # for each of two
    assert arguments[arguments.index("--parallel") + 1] == "2"


def test_keep_alive_is_configured_without_a_reload(daemon: DaemonProcess) -> None:
    """A keep-alive changes under the running engine, shows in ps, and 0 ends it at once."""
    chat(daemon)
    [engine] = daemon.engines()
    configure = "/engines/_configure"
    for keep_alive, shown in (("1h30m", "1h30m0s"), ("-1", "-1"), (90, "1m30s")):
        response = daemon.http.post(configure, json={"model": "tiny", "keep_alive": keep_alive})
        assert response.status_code == 202, response.text
        [runner] = daemon.ps()
        assert runner["keep_alive"] == shown
        assert (runner["expires_at"] is None) == (shown == "-1")
    assert engine.is_running()
    [stored] = daemon.http.get(configure, params={"model": "tiny"}).json()
    assert stored["Config"] == {"keep_alive": "1m30s"}
    wrong: tuple[object, ...] = ("soon", "", True, [], "5 m")
    for bad in wrong:
        refused = daemon.http.post(configure, json={"model": "tiny", "keep_alive": bad})
        assert refused.status_code == 400, bad
    daemon.http.post(configure, json={"model": "tiny", "keep_alive": "0"})
    wait_for(lambda: not daemon.engines(), "the idle engine to be stopped")


def test_configuring_a_model_in_use_is_a_conflict(daemon: DaemonProcess) -> None:
    """409 while a request runs with the old configuration."""
    request = {
        "model": "tiny",
        "prompt": "x",
        "max_tokens": 7000,
        "stream": True,
        "ignore_eos": True,
    }
    with (
        daemon.client() as client,
        client.stream("POST", "/v1/completions", json=request) as response,
    ):
        chunks = response.iter_raw()  # kept: a dropped iterator would close the stream
        next(chunks)
        for engine in daemon.engines():
            engine.suspend()
        refused = daemon.http.post(
            "/engines/_configure", json={"model": "tiny", "context-size": 256}
        )
        assert refused.status_code == 409, refused.text
        for engine in daemon.engines():
            engine.resume()


def test_engine_environment_and_flags_are_ours(tmp_path: Path, gguf: Path) -> None:
    """Nothing of the daemon's environment acts on an engine: neither secrets nor flags."""
    env = {"HF_TOKEN": "secret", "LLAMA_API_KEY": "secret", "LLAMA_ARG_ENDPOINT_METRICS": "1"}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        chat(daemon)
        [engine] = daemon.engines()
        assert "secret" not in " ".join(engine.environ().values())
        assert not any(name.startswith(("LLAMA_", "RUNNERD_")) for name in engine.environ())
        assert "-ngl" not in engine.cmdline()
        assert "--n-gpu-layers" not in engine.cmdline()
