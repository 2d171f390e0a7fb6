"""Instances, slots and groups of runners, on real engines."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LONG = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True, "ignore_eos": True}
SHORT = LONG | {"max_tokens": 2, "stream": False}
ONE_SLOT: dict[str, Any] = {"runtime-flags": ["--parallel", "1"]}


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with two models whose engines get one request per slot."""
    with running(tmp_path, env={"RUNNERD_OVERCOMMIT": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        yield daemon


def configure(daemon: DaemonProcess, name: str = "tiny", /, **fields: Any) -> httpx.Response:
    document = {"model": name, **fields}
    return daemon.http.post("/engines/_configure", json=document, headers=JSON)


def states(daemon: DaemonProcess) -> list[str]:
    return [runner["state"] for runner in daemon.ps()]


def test_requests_beyond_the_slots_wait_outside_the_engine(daemon: DaemonProcess) -> None:
    """One slot: the second request waits in our queue, and gets its turn."""
    assert configure(daemon, **ONE_SLOT).status_code == 202
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        pieces = response.iter_raw()
        next(pieces)
        for engine in daemon.engines():
            engine.suspend()
        with ThreadPoolExecutor() as threads, daemon.client() as second:
            waiting = threads.submit(second.post, "/v1/completions", json=SHORT)
            wait_for(lambda: daemon.ps()[0]["waiting"] == 1, "the second request to wait")
            [runner] = daemon.ps()
            assert (runner["requests"], runner["slots"]) == (1, 1)
            for engine in daemon.engines():
                engine.resume()
            response.close()
            assert waiting.result().status_code == 200


def test_instances_grow_under_load_and_shrink_afterwards(daemon: DaemonProcess) -> None:
    """A model with two instances starts the second one for the request that would wait."""
    assert configure(daemon, **ONE_SLOT, max_instances=2).status_code == 202
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        pieces = response.iter_raw()
        next(pieces)
        [first] = daemon.engines()
        first.suspend()
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
        assert sorted(runner["requests"] for runner in daemon.ps()) == [0, 1]
        assert len({runner["id"] for runner in daemon.ps()}) == 2
        first.resume()
    wait_for(lambda: not any(runner["requests"] for runner in daemon.ps()), "the end of the stream")
    assert configure(daemon, keep_alive="50ms").status_code == 202
    wait_for(lambda: daemon.ps() == [], "both to expire")
    assert daemon.engines() == []


def test_resident_instances_are_there_unasked_and_come_back(daemon: DaemonProcess) -> None:
    """min_instances: started without a request, kept, brought back, and again after a restart."""
    assert configure(daemon, min_instances=1, keep_alive="10ms").status_code == 202
    wait_for(lambda: states(daemon) == ["ready"], "the model to be loaded unasked")
    [engine] = daemon.engines()
    engine.kill()
    wait_for(lambda: daemon.engines() not in ([], [engine]), "another one")
    wait_for(lambda: states(daemon) == ["ready"], "it to be back")
    assert daemon.ps()[0]["model_name"] == "ai/tiny:latest"
    assert daemon.terminate() == 0
    daemon.start()
    wait_for(lambda: states(daemon) == ["ready"], "the model to be loaded at the start")
    assert daemon.http.post("/engines/unload", json={"all": True}).json()["unloaded_runners"] == 1
    assert daemon.ps() == []


def test_exclusive_group_is_never_resident_together(daemon: DaemonProcess) -> None:
    """Two models of one group take turns although both would fit."""
    for model in ("tiny", "other"):
        assert configure(daemon, model, exclusive_group="big").status_code == 202
    for model in ("tiny", "other", "tiny"):
        response = daemon.http.post("/v1/completions", json=SHORT | {"model": model})
        assert response.status_code == 200
        assert [runner["model_name"] for runner in daemon.ps()] == [model]


def test_pinned_model_stays(tmp_path: Path, gguf: Path) -> None:
    """A pinned model is not evicted: whoever needs its place is told so in time."""
    env = {"RUNNERD_MAX_RUNNERS": "1", "RUNNERD_QUEUE_TIMEOUT": "5"}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        assert configure(daemon, pinned=True).status_code == 202
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
        refused = daemon.http.post("/v1/completions", json=SHORT | {"model": "other"})
        assert refused.status_code == 429, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        [runner] = daemon.ps()
        assert (runner["model_name"], runner["pinned"]) == ("tiny", True)
        assert configure(daemon, pinned=False).status_code == 202
        other = daemon.http.post("/v1/completions", json=SHORT | {"model": "other"})
        assert other.status_code == 200


def test_preloaded_messages_are_in_the_cache_of_the_first_request(daemon: DaemonProcess) -> None:
    """What was evaluated at load needs no evaluation in the first request."""
    system = {"role": "system", "content": "x " * 200}
    assert configure(daemon, preload=[system]).status_code == 202
    response = daemon.http.post(
        "/v1/chat/completions",
        json={
            "model": "tiny",
            "messages": [system, {"role": "user", "content": "y"}],
            "max_tokens": 2,
        },
    )
    assert response.status_code == 200, response.text
    assert response.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_preloaded_text_is_in_the_cache_of_the_first_request(daemon: DaemonProcess) -> None:
    """A text that all prompts begin with is evaluated once, at load."""
    text = "Once upon a time there was. " * 20
    assert configure(daemon, preload_prefix=text).status_code == 202
    response = daemon.http.post("/v1/completions", json=SHORT | {"prompt": text + "And then"})
    assert response.status_code == 200, response.text
    assert response.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_slots_of_one_model(daemon: DaemonProcess) -> None:
    """parallel: how many requests an instance works on at a time; another number is a reload."""
    for slots in (1, 3):
        assert configure(daemon, parallel=slots).status_code == 202
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
        assert [runner["slots"] for runner in daemon.ps()] == [slots]
        [engine] = daemon.engines()
        argv = engine.cmdline()
        assert argv[argv.index("--parallel") + 1] == str(slots)


def test_placement_on_the_processor(daemon: DaemonProcess) -> None:
    """A model that is to stay off every GPU runs, and its engine was told so."""
    assert configure(daemon, placement={"devices": "cpu"}).status_code == 202
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    [engine] = daemon.engines()
    assert engine.cmdline()[-4:] == ["--device", "none", "--n-gpu-layers", "0"]


def test_placement_on_a_gpu_that_is_not_there(daemon: DaemonProcess) -> None:
    """Whoever asks for it is told which GPU that was and what there is."""
    refused = configure(daemon, placement={"devices": [60]})
    assert refused.status_code == 400
    assert "GPU 60" in refused.json()["error"]["message"]
    assert "placement" in refused.json()["error"]["message"]


def test_placement_on_gpus_in_the_engines_own_names(tmp_path: Path, gguf: Path) -> None:
    """GPUs are named by number, and the engine is told what it calls them (a double's, here)."""
    engine = fake_engine(tmp_path)
    env = {"RUNNERD_BACKENDS": f'{{"llama.cpp": {{"path": "{engine}"}}}}'}
    placement = {"devices": [1, 0], "shares": [3, 1], "main": 0, "split": "row", "layers": 20}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        assert configure(daemon, placement=placement).status_code == 202
        chat = {"model": "tiny", "messages": [], "stream": True}
        assert daemon.http.post("/v1/chat/completions", json=chat).status_code == 200
        [process] = daemon.engines()
        flags = "--device CUDA1,CUDA0 --main-gpu 1 --n-gpu-layers 20 --split-mode row"
        assert " ".join(process.cmdline()).endswith(f"{flags} --tensor-split 3,1")


def test_a_model_of_several_groups_excludes_each_of_them(tmp_path: Path) -> None:
    """One that shares a group with two others replaces both; those two go together."""
    groups = {"left": "l", "right": "r", "both": ["l", "r"]}
    with running(tmp_path) as daemon:
        for seed, (model, group) in enumerate(groups.items()):
            path = tmp_path / f"{model}.gguf"
            tiny.write_completion_model(path, name=model, seed=seed)
            daemon.import_model(path, model)
            assert configure(daemon, model, exclusive_group=group).status_code == 202
        loaded = []
        for model in ("left", "right", "both", "left"):
            response = daemon.http.post("/v1/completions", json=SHORT | {"model": model})
            assert response.status_code == 200, response.text
            loaded.append({runner["model_name"] for runner in daemon.ps()})
        assert loaded == [{"left"}, {"left", "right"}, {"both"}, {"left"}]


def test_share_of_the_memory_refuses_what_needs_more(tmp_path: Path, gguf: Path) -> None:
    """One model alone, too; nothing is started, and a reload of the settings changes it."""
    settings = tmp_path / "settings.toml"
    share = 8 * 2**20 / psutil.virtual_memory().total
    settings.write_text(f"memory_share = {{ ram = {share:.9f} }}\n")
    with running(tmp_path, "--config", str(settings)) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        refused = daemon.http.post("/v1/completions", json=SHORT)
        assert refused.status_code == 507, refused.text
        assert "memory_share" in refused.json()["error"]["message"]
        assert daemon.ps() == []
        assert ": starting /" not in daemon.text()
        settings.write_text("memory_share = { ram = 0.9 }\n")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "changed settings: memory_share" in daemon.text(), "the new settings")
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200


def test_resident_comes_back_when_nobody_uses_its_room(tmp_path: Path, gguf: Path) -> None:
    """Room for one of two: the one that is to be resident does not wait until the other expires."""
    with running(tmp_path, env={"RUNNERD_MAX_RUNNERS": "1", "RUNNERD_TURN": "0.1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        assert configure(daemon, min_instances=1).status_code == 202
        wait_for(lambda: states(daemon) == ["ready"], "the resident")
        for _ in range(2):
            other = daemon.http.post("/v1/completions", json=SHORT | {"model": "other"})
            assert other.status_code == 200
            wait_for(
                lambda: [runner["model_name"] for runner in daemon.ps()] == ["ai/tiny:latest"],
                "it to be back",
            )


def test_nonsense_is_refused(daemon: DaemonProcess) -> None:
    """Each wrong field is a 400 that names it, and nothing is stored."""
    wrong: list[dict[str, object]] = [
        {"min_instances": 2},
        {"max_instances": 0},
        {"max_instances": 17},
        {"pinned": "yes"},
        {"exclusive_group": ""},
        {"preload": [{"role": "user"}]},
        {"preload": "text"},
        {"preload_prefix": 7},
        {"exclusive_group": ["a", ""]},
        {"parallel": 0},
        {"parallel": 2, "runtime-flags": ["-np", "3"]},
        {"placement": {"devices": "gpu"}},
        {"placement": {"devices": []}},
        {"placement": {"devices": [0, 0]}},
        {"placement": {"devices": [0], "main": 1}},
        {"placement": {"devices": [0, 1], "shares": [1]}},
        {"placement": {"devices": "cpu", "layers": 3}},
        {"placement": {"flag": "--rpc"}},
        {"placement": {"devices": "cpu"}, "runtime-flags": ["-ngl", "3"]},
    ]
    for fields in wrong:
        refused = configure(daemon, **fields)
        assert refused.status_code == 400, fields
        assert refused.json()["error"]["code"] == "invalid_configuration"
    assert daemon.http.get("/engines/_configure").json() == []


def test_two_models_under_load_take_turns(tmp_path: Path, gguf: Path) -> None:
    """Two closed loops on two models with one place: everybody is served, without a swap each."""
    rounds = 40
    with running(tmp_path, env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        codes: dict[str, list[int]] = {"tiny": [], "other": []}

        def loop(model: str) -> None:
            with daemon.client() as client:
                for _ in range(rounds):
                    response = client.post("/v1/completions", json=SHORT | {"model": model})
                    codes[model].append(response.status_code)

        threads = [threading.Thread(target=loop, args=(model,)) for model in codes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == {"tiny": [200] * rounds, "other": [200] * rounds}
        swaps = daemon.text().count(": starting /")
        assert swaps < rounds, json.dumps({"requests": 2 * rounds, "loads": swaps})


def turns(daemon: DaemonProcess, since: int) -> dict[str, list[float]]:
    """Return how long each model was loaded each time, from the daemon's log."""
    found: dict[str, list[float]] = {"tiny": [], "other": []}
    ready_at: dict[str, float] = {}
    line = re.compile(r"(\S+ \S+) INFO .* runner \S+ (\S+): (ready|stopping)")
    for at, model, state in line.findall(daemon.text()[since:]):
        seconds = datetime.strptime(at, "%Y-%m-%d %H:%M:%S.%f").timestamp()
        if state == "ready":
            ready_at[model] = seconds
        elif model in ready_at:
            found[model].append(seconds - ready_at.pop(model))
    return found


def test_closed_loops_share_the_time_whatever_was_before(tmp_path: Path, gguf: Path) -> None:
    """One of two models was away for long; four clients each, back to back, are even then."""
    env = {"RUNNERD_MAX_RUNNERS": "1", "RUNNERD_TURN": "0.3"}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        for model in ("other", *["tiny"] * 100, "other", *["tiny"] * 100):
            response = daemon.http.post("/v1/completions", json=SHORT | {"model": model})
            assert response.status_code == 200
        since = len(daemon.text())
        over = threading.Event()

        def loop(model: str) -> int:
            with daemon.client() as client:
                while not over.is_set():
                    response = client.post("/v1/completions", json=SHORT | {"model": model})
                    if response.status_code != 200:
                        return response.status_code
            return 200

        with ThreadPoolExecutor(8) as clients:
            codes = clients.map(loop, ("tiny", "other") * 4)
            wait_for(lambda: min(map(len, turns(daemon, since).values())) > 7, "some turns of each")
            over.set()
            assert set(codes) == {200}
        sums = sorted(sum(each[1:8]) for each in turns(daemon, since).values())
        assert sums[1] < 1.5 * sums[0], turns(daemon, since)


def test_status_document_for_clients_of_lllms(daemon: DaemonProcess) -> None:
    """GET / is a sentence for people, and lllms' document for who asks for JSON."""
    assert daemon.http.get("/").text == "Ollama is running"
    assert configure(daemon, max_instances=3).status_code == 202
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    [runner] = daemon.ps()
    status = daemon.http.get("/", headers={"Accept": "application/json"}).json()
    assert (status["pool"]["processing"], status["pool"]["pending"]) == (0, 0)
    instance = status["pool"]["instances"][f"tiny:{runner['id']}"]
    assert instance["lastUsed"] == runner["last_used"]
    del instance["lastUsed"]
    assert instance == {"model": "tiny", "status": "idle", "engine": "llama.cpp", "device": "cpu"}
    assert {name: entry["status"] for name, entry in status["store"].items()} == {
        "ai/tiny:latest": "ready",
        "ai/other:latest": "unloaded",
    }
    assert status["store"]["ai/tiny:latest"]["maxInstances"] == 3


def test_one_users_burst_does_not_delay_anothers_request(daemon: DaemonProcess) -> None:
    """Six requests of one user, then one of another: it is not served last."""
    assert configure(daemon, **ONE_SLOT).status_code == 202
    finished: list[str] = []
    body = SHORT | {"max_tokens": 400}  # long enough to see who is answered first

    def ask(name: str, client: httpx.Client) -> None:
        with client:
            assert client.post("/v1/completions", json=body).status_code == 200
            finished.append(name)

    def asked() -> int:
        [runner] = daemon.ps()
        return int(runner["waiting"]) + int(runner["requests"])

    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    for engine in daemon.engines():
        engine.suspend()
    with ThreadPoolExecutor(max_workers=7) as threads:
        tasks = [threads.submit(ask, f"first {number}", daemon.client()) for number in range(6)]
        wait_for(lambda: asked() == 6, "the burst to be there")
        tasks.append(threads.submit(ask, "other", daemon.stranger()))
        wait_for(lambda: asked() == 7, "the other one's request to wait")
        for engine in daemon.engines():
            engine.resume()
        for task in tasks:
            task.result()
    assert finished.index("other") <= 3, finished


DEMO = Path(__file__).parents[2] / "demo"
Conversation = list[dict[str, str]]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with two instances of a demo model, one slot each."""
    with running(tmp_path) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        fields = ONE_SLOT | {"min_instances": 2, "max_instances": 2}
        assert configure(daemon, "a", **fields).status_code == 202
        wait_for(lambda: states(daemon) == ["ready", "ready"], "both instances")
        yield daemon


def say(http: httpx.Client, conversation: Conversation, text: str) -> None:
    """Say something and add it to the conversation, answer and all."""
    conversation.append({"role": "user", "content": text})
    body = {"model": "a", "messages": conversation, "max_tokens": 16, "temperature": 0}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    conversation.append(response.json()["choices"][0]["message"])


def talk(daemon: DaemonProcess, conversation: Conversation, text: str) -> tuple[str, int, int]:
    """Say something; return which runner answered, and how much it evaluated and found."""
    say(daemon.http, conversation, text)
    record = daemon.http.get("/engines/requests").json()[-1]
    return (
        record["runner"],
        record["prompt_tokens"] - record["cached_tokens"],
        record["cached_tokens"],
    )


def test_a_conversation_goes_back_to_its_instance(pool: DaemonProcess) -> None:
    """Two conversations, each on an instance of its own that has it evaluated."""
    first: Conversation = [{"role": "system", "content": "One. " + "Be brief and clear. " * 20}]
    second: Conversation = [{"role": "system", "content": "Two. " + "Be long and vague. " * 20}]
    here, _, found = talk(pool, first, "Who are you?")
    there, _, none = talk(pool, second, "Who are you?")
    assert here != there
    assert (found, none) == (0, 0)
    for conversation in (second, second, first, first, second):  # no order that chance would give
        where, evaluated, found = talk(pool, conversation, "What is your name?")
        assert where == (here if conversation is first else there)
        assert found > 100
        assert evaluated < 60


def test_nobody_inherits_the_context_of_another_client(pool: DaemonProcess) -> None:
    """Who gets an instance that served somebody else is answered as if it had served nobody."""
    alone: Conversation = []
    say(pool.http, alone, "What is your name?")
    crowd: list[Conversation] = [
        [{"role": "system", "content": f"I am number {n}. " * 9}] for n in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        others = [threads.submit(say, pool.http, each, "Hello!") for each in crowd]
        with httpx.Client(base_url=pool.address, timeout=60, verify=NO_TLS) as client:
            for _ in range(4):
                again: Conversation = []
                say(client, again, "What is your name?")
                assert again == alone
        for other in others:
            other.result()
