"""A model that goes does not forget: what its engine had evaluated is saved and read again."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.two_models import DEMO, two_models
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

SYSTEM = {"role": "system", "content": "You answer briefly. " + "The quick brown fox jumps. " * 20}
FEW = 40  # tokens of a question, much less than of the system message


def question(text: str = "What is your name?", model: str = "a") -> dict[str, Any]:
    messages = [SYSTEM, {"role": "user", "content": text}]
    return {"model": model, "messages": messages, "max_tokens": 24, "temperature": 0}


def ask(http: httpx.Client, **changes: Any) -> tuple[str, int, int]:
    """Return a response, and how many tokens of its prompt were evaluated and found evaluated."""
    response = http.post("/v1/chat/completions", json=question(**changes))
    assert response.status_code == 200, response.text
    document = response.json()
    cached = document["usage"]["prompt_tokens_details"]["cached_tokens"]
    return (
        document["choices"][0]["message"]["content"],
        document["usage"]["prompt_tokens"] - cached,
        cached,
    )


def saved(daemon: DaemonProcess) -> list[Path]:
    """Return the files of saved slots."""
    return sorted((daemon.state_dir / "slots").glob("*.slot"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with room for one of two models."""
    with two_models(tmp_path) as daemon:
        yield daemon


def test_swap_forgets_nothing_and_changes_no_answer(daemon: DaemonProcess) -> None:
    """After another model had its place, a conversation goes on where it was, word for word."""
    cold, evaluated, _ = ask(daemon.http)
    assert evaluated > 200
    ask(daemon.http, model="b")
    assert [runner["model_name"] for runner in daemon.ps()] == ["b"]
    warm, evaluated, cached = ask(daemon.http)
    assert (warm, cached > 200) == (cold, True)
    assert evaluated < FEW
    _, evaluated, _ = ask(daemon.http, text="Who are you?")
    assert evaluated < FEW


def test_a_restart_forgets_nothing(daemon: DaemonProcess) -> None:
    """Slots are saved when the daemon is stopped; an older file makes way for the newer one."""
    cold, _, _ = ask(daemon.http)
    for _ in range(2):
        assert daemon.terminate() == 0
        assert len(saved(daemon)) == 1
        daemon.start()
        warm, evaluated, _ = ask(daemon.http)
        assert (warm, evaluated < FEW) == (cold, True)


def test_another_number_of_slots_forgets_nothing(daemon: DaemonProcess) -> None:
    """Where memory is shorter at the next load there are fewer, and each is as it was."""
    cold, _, _ = ask(daemon.http)
    daemon.http.post("/engines/unload", json={"all": True})
    daemon.http.post("/engines/_configure", json={"model": "a", "parallel": 1})
    warm, evaluated, _ = ask(daemon.http)
    assert (warm, evaluated < FEW) == (cold, True)
    assert daemon.ps()[0]["slots"] == 1


def test_files_are_private_and_go_with_their_model(daemon: DaemonProcess) -> None:
    """Only the daemon's user can read them; deleting the model removes them."""
    ask(daemon.http)
    daemon.http.post("/engines/unload", json={"all": True})
    folder = daemon.state_dir / "slots"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert daemon.http.delete("/models/a").status_code == 200
    assert list(folder.iterdir()) == []


def test_nobody_else_gets_them(daemon: DaemonProcess) -> None:
    """What a user of this host had said is not read again for another user, but for him."""
    ask(daemon.http)
    daemon.http.post("/engines/unload", json={"all": True})
    with daemon.stranger() as stranger:
        assert ask(stranger)[2] == 0
        daemon.http.post("/engines/unload", json={"all": True})
        assert ask(stranger)[1] < FEW
    assert ask(daemon.http, model="b")[2] == 0
    assert ask(daemon.http)[1] < FEW


@pytest.mark.parametrize("damage", ["short", "changed", "gone"])
def test_damaged_file_costs_the_file_only(daemon: DaemonProcess, damage: str) -> None:
    """The engine is never given a file that is not whole: half a file would abort it."""
    cold, _, _ = ask(daemon.http)
    daemon.http.post("/engines/unload", json={"all": True})
    [file] = saved(daemon)
    content = file.read_bytes()
    match damage:
        case "short":
            file.write_bytes(content[: len(content) // 2])
        case "changed":
            file.write_bytes(content[:5000] + bytes(200) + content[5200:])
        case "gone":
            file.unlink()
    assert ask(daemon.http)[::2] == (cold, 0)
    assert saved(daemon) == []
    assert [runner["failure"] for runner in daemon.ps()] == [None]


def test_another_configuration_does_not_read_them(daemon: DaemonProcess) -> None:
    """Keys and values of another type or size are no use; the old configuration still has its."""
    ask(daemon.http)
    change = {"model": "a", "runtime-flags": ["--cache-type-k", "q8_0"]}
    assert daemon.http.post("/engines/_configure", json=change).status_code == 202
    assert ask(daemon.http)[2] == 0
    change["runtime-flags"] = []
    assert daemon.http.post("/engines/_configure", json=change).status_code == 202
    assert ask(daemon.http)[1] < FEW


def test_what_a_crash_left_is_removed(daemon: DaemonProcess) -> None:
    """Files without a line about them go at the next start."""
    ask(daemon.http)
    daemon.http.post("/engines/unload", json={"all": True})
    left = daemon.state_dir / "slots" / "00000000000000000001-0000.0.slot"
    left.write_bytes(b"half")
    daemon.kill()
    daemon.start()
    assert left not in saved(daemon)
    assert ask(daemon.http)[1] < FEW


def test_switched_off_nothing_is_written(tmp_path: Path) -> None:
    """With a quota of nothing there are no files, and older ones are removed."""
    with running(tmp_path) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        ask(daemon.http)
    with running(tmp_path, env={"RUNNERD_SLOT_QUOTA": "0"}) as daemon:
        assert saved(daemon) == []
        ask(daemon.http)
        daemon.http.post("/engines/unload", json={"all": True})
        assert saved(daemon) == []


def test_more_than_the_quota_is_not_kept(tmp_path: Path) -> None:
    """A conversation that is bigger than the quota is not written at all."""
    with running(tmp_path, env={"RUNNERD_SLOT_QUOTA": "1000"}) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        ask(daemon.http)
        daemon.http.post("/engines/unload", json={"all": True})
        assert saved(daemon) == []


def with_engine(tmp_path: Path, fault: str, timeout: float = 5) -> dict[str, str]:
    """Return the environment of a daemon whose engine has a fault."""
    engine = fake_engine(tmp_path, fault)
    return {
        "RUNNERD_BACKENDS": f'{{"llama.cpp": {{"path": "{engine}"}}}}',
        "RUNNERD_SLOT_TIMEOUT": str(timeout),
    }


def test_slow_save_is_given_up(tmp_path: Path) -> None:
    """A model goes although its engine does not end saving, and leaves nothing behind."""
    with running(tmp_path, env=with_engine(tmp_path, "slow-slots", 0.3)) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200
        daemon.http.post("/engines/unload", json={"all": True})
        assert daemon.ps() == []
        assert "slots were not saved: it took too long" in daemon.text()
        wait_for(lambda: saved(daemon) == [], "what was written to go")


def test_full_disk_costs_the_slots_only(tmp_path: Path) -> None:
    """What the engine could not write whole is removed, and the model goes as it should."""
    with running(tmp_path, env=with_engine(tmp_path, "full-disk")) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200
        daemon.http.post("/engines/unload", json={"all": True})
        assert daemon.ps() == []
        assert "slots were not saved: the engine refused" in daemon.text()
        wait_for(lambda: saved(daemon) == [], "what was written to go")


def test_slots_that_end_an_engine_end_one_only(tmp_path: Path) -> None:
    """An engine that aborts on a file is told to read it once; the next one is not."""
    with running(tmp_path, env=with_engine(tmp_path, "abort-on-restore")) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200
        daemon.http.post("/engines/unload", json={"all": True})
        assert len(saved(daemon)) == 1
        daemon.http.post("/v1/chat/completions", json=question())
        wait_for(lambda: saved(daemon) == [], "the file to go")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200


def test_second_signal_waits_for_no_save(tmp_path: Path) -> None:
    """Whoever says twice that the daemon has to end means it."""
    with running(tmp_path, env=with_engine(tmp_path, "slow-slots", 1000)) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200
        assert daemon.process is not None
        daemon.process.terminate()
        slots = daemon.state_dir / "slots"
        wait_for(lambda: list(slots.glob("*.run/*.slot")), "the save to begin")
        assert daemon.terminate() == 0
        assert saved(daemon) == []
        assert list(slots.glob("*.run")) == []


def test_second_signal_begins_no_save(tmp_path: Path) -> None:
    """Neither where it comes while responses are waited for, and no runner stops yet."""
    with running(tmp_path, env=with_engine(tmp_path, "slow-slots", 1000)) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        assert daemon.http.post("/v1/chat/completions", json=question()).status_code == 200
        begun = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n"
        said = json.dumps({"raw": begun, "then": "hold"})
        held = {**question(), "messages": [{"role": "user", "content": said}], "stream": True}
        with (
            daemon.client() as client,
            client.stream("POST", "/v1/chat/completions", json=held) as response,
        ):
            assert next(response.iter_bytes())
            assert daemon.process is not None
            daemon.process.terminate()
            wait_for(lambda: "draining" in daemon.text(), "the daemon to wait for the response")
            assert daemon.terminate() == 0
        assert "SIGTERM again" in daemon.text()
        assert saved(daemon) == []


def test_resident_model_recalls_whoever_comes(daemon: DaemonProcess) -> None:
    """A model that is loaded for nobody reads nothing, and what a client had evaluated when he
    comes; for a stranger it reads nothing.
    """
    cold, _, _ = ask(daemon.http)
    daemon.http.post("/engines/_configure", json={"model": "a", "min_instances": 1})
    assert daemon.terminate() == 0
    daemon.start()
    wait_for(lambda: [r["state"] for r in daemon.ps()] == ["ready"], "the model to be resident")
    with daemon.stranger() as stranger:
        assert ask(stranger, text="Who are you?")[2] == 0
        warm, evaluated, _ = ask(daemon.http)
        assert (warm, evaluated < FEW) == (cold, True)
    assert "restored 1 slots" in daemon.text()


def test_two_clients_in_turns_each_find_their_own(daemon: DaemonProcess) -> None:
    """Whoever has a model loaded, the other one's conversation is read when he comes."""
    with daemon.stranger() as other:
        ask(daemon.http)
        daemon.http.post("/engines/unload", json={"all": True})
        ask(other, text="Who are you?")
        daemon.http.post("/engines/unload", json={"all": True})
        assert len(saved(daemon)) == 2
        assert ask(other)[1] < FEW
        assert ask(daemon.http)[1] < FEW
    assert daemon.text().count("restored 1 slots") == 2
