"""Sessions over the wire, with the real engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.sessions import GREEDY, SYSTEM, evaluated, events, history, make, prompt
from tests.support.two_models import DEMO, two_models
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LAST_TOKENS = 16  # of what was evaluated: where a template begins or ends


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with two models."""
    with two_models(tmp_path_factory.mktemp("sessions"), room=None) as daemon:
        yield daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon of one's own, with room for one of two models."""
    with two_models(tmp_path) as daemon:
        yield daemon


def busy(daemon: DaemonProcess) -> int:
    """How many engines have something to do."""
    return sum(runner["in_use"] for runner in daemon.ps())


def test_turns_go_on_and_evaluate_only_what_is_new(shared: DaemonProcess) -> None:
    """What was said before is part of each prompt, and was evaluated."""
    http = shared.http
    id = make(http)
    first = prompt(http, id, "What is your name?")
    second = prompt(http, id, "Who are you?")
    assert [first["number"], second["number"]] == [1, 2]
    assert evaluated(second) < 40 < second["usage"]["prompt_tokens"]
    assert history(http, id) == [first, second]
    chat = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "What is your name?"},
        {"role": "assistant", "content": first["response"]},
        {"role": "user", "content": "Who are you?"},
    ]
    asked = {"model": "a", "messages": chat, **GREEDY}
    whole = http.post("/v1/chat/completions", json=asked).json()
    assert whole["choices"][0]["message"]["content"] == second["response"]


def test_a_text_session_has_nothing_between_its_turns(shared: DaemonProcess) -> None:
    """Its texts stand behind each other, as in a completion without a template."""
    http = shared.http
    id = make(http, kind="text", system="Once upon a time ")
    first = prompt(http, id, "there was a fox")
    second = prompt(http, id, " and then")
    text = f"Once upon a time there was a fox{first['response']} and then"
    whole = http.post("/v1/completions", json={"model": "a", "prompt": text, **GREEDY}).json()
    assert whole["choices"][0]["text"] == second["response"]


def test_names_lists_and_deletion(shared: DaemonProcess) -> None:
    """A name is unique to its owner and stands for the id."""
    http = shared.http
    id = make(http, name="my talk")
    again = http.post("/runnerd/sessions", json={"model": "a", "name": "my talk"})
    assert again.status_code == 409
    prompt(http, "my talk", "Hello")
    [found] = [each for each in http.get("/runnerd/sessions").json() if each["id"] == id]
    assert (found["name"], found["turns"], found["warnings"]) == ("my talk", 1, [])
    assert http.delete("/runnerd/sessions/my talk").json() == {"id": id, "deleted": True}
    assert http.get(f"/runnerd/sessions/{id}").status_code == 404
    assert make(http, name="my talk") != id


def test_anothers_session_is_as_unknown_as_none(shared: DaemonProcess) -> None:
    """For everything that can be done with it; the owner may do all of that."""
    with shared.stranger("ann") as ann, shared.stranger("bob") as bob:
        id = make(ann, name="secret")
        prompt(ann, id, "Hello")
        for name in (id, "secret"):
            path = f"/runnerd/sessions/{name}"
            refused = [
                bob.get(path),
                bob.post(f"{path}/prompt", json={"prompt": "x"}),
                bob.post(f"{path}/interrupt"),
                bob.delete(path),
            ]
            unknown = bob.get("/runnerd/sessions/nothing")
            for response in refused:
                assert response.status_code == 404
                assert response.text == unknown.text.replace("nothing", name)
        assert bob.get("/runnerd/sessions").json() == []
        assert "user" not in ann.get(f"/runnerd/sessions/{id}").json()
        assert shared.http.get(f"/runnerd/sessions/{id}").json()["user"] == "ann"
        assert shared.http.delete(f"/runnerd/sessions/{id}").status_code == 200
        audit = shared.http.get("/runnerd/audit").text
        assert "delete_session" in audit


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 400),
        ({"model": "nothing"}, 404),
        ({"model": "a", "kind": "x"}, 400),
        ({"model": "a", "name": "../x"}, 400),
        ({"model": "a", "parameters": {"messages": []}}, 400),
        ({"model": "a", "parameters": []}, 400),
    ],
)
def test_what_cannot_be_a_session(
    shared: DaemonProcess, document: dict[str, Any], status: int
) -> None:
    """Is refused with what is wrong."""
    assert shared.http.post("/runnerd/sessions", json=document).status_code == status


def test_a_prompt_that_fails_leaves_no_turn(shared: DaemonProcess) -> None:
    """It is an error with its status, and can be said again."""
    http = shared.http
    id = make(http)
    path = f"/runnerd/sessions/{id}/prompt"
    asked = {"prompt": "x", "parameters": {"temperature": "hot"}}
    assert http.post(path, json=asked).status_code == 400
    assert http.post(path, json={"prompt": "word " * 20000}, headers=JSON).status_code == 400
    assert history(http, id) == []
    prompt(http, id, "Hello", after=0)
    assert http.post(path, json={"prompt": "Hello", "after": 0}).status_code == 409
    assert len(history(http, id)) == 1


def test_interrupt_keeps_what_was_said(shared: DaemonProcess) -> None:
    """The stream ends at once with the turn; what waits behind it ends without one."""
    http = shared.http
    id = make(http, parameters={"temperature": 0, "max_tokens": 100000, "ignore_eos": True})
    path = f"/runnerd/sessions/{id}"
    waited: list[Any] = []

    def wait() -> None:
        with shared.client() as other:
            response = other.post(f"{path}/prompt", json={"prompt": "and I wait"})
            waited.append(response.text)

    waiting = threading.Thread(target=wait)
    with shared.client() as reader:
        with reader.stream("POST", f"{path}/prompt", json={"prompt": "Tell me"}) as response:
            told = events(response)
            seen = next(told)[1]["text"]
            waiting.start()
            wait_for(lambda: http.get(path).json()["prompts_waiting"] == 2, "the other prompt")
            assert http.post(f"{path}/interrupt").json() == {"interrupted": 2}
            for kind, said in told:
                if kind == "end":
                    break
                seen += said["text"]
    waiting.join()
    assert kind == "end"
    assert (said["turn"]["state"], said["turn"]["response"]) == ("interrupted", seen)
    assert history(http, id) == [said["turn"]]
    assert '"turn":null' in waited[0]
    assert http.post(f"{path}/interrupt").json() == {"interrupted": 0}
    wait_for(lambda: busy(shared) == 0, "the engine to be free")


def test_who_leaves_cancels_and_keeps_nothing(shared: DaemonProcess) -> None:
    """The engine is free at once, and so is the session."""
    http = shared.http
    id = make(http, parameters={"temperature": 0, "max_tokens": 100000, "ignore_eos": True})
    path = f"/runnerd/sessions/{id}"
    with shared.client() as reader:
        with reader.stream("POST", f"{path}/prompt", json={"prompt": "Tell me"}) as response:
            next(events(response))
    wait_for(lambda: http.get(path).json()["prompts_waiting"] == 0, "the prompt to end")
    wait_for(lambda: busy(shared) == 0, "the engine to be free")
    assert history(http, id) == []


def test_prompts_of_one_session_are_answered_one_after_the_other(shared: DaemonProcess) -> None:
    """However many come at once: each goes on with those before it."""
    http = shared.http
    id = make(http)

    def say(number: int) -> None:
        with shared.client() as client:
            prompt(client, id, f"This is {number}")

    threads = [threading.Thread(target=say, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = history(http, id)
    assert [turn["number"] for turn in turns] == [1, 2, 3, 4, 5]
    assert {turn["prompt"] for turn in turns} == {f"This is {number}" for number in range(5)}
    sizes = [turn["usage"]["prompt_tokens"] for turn in turns]
    assert sizes == sorted(sizes)


def test_after_a_kill_all_turns_are_there_and_it_goes_on(daemon: DaemonProcess) -> None:
    """Each was on the disk before its end was told."""
    id = make(daemon.http)
    turns = [prompt(daemon.http, id, text) for text in ("One", "Two")]
    daemon.kill()
    daemon.start()
    assert history(daemon.http, id) == turns
    assert prompt(daemon.http, id, "Three")["number"] == 3


@pytest.mark.parametrize("how", ["swap", "restart"])
def test_what_was_evaluated_is_there_again(daemon: DaemonProcess, how: str) -> None:
    """After another model had its place, and after a restart: word for word as undisturbed."""
    http = daemon.http
    undisturbed, id = make(http), make(http)
    for text in ("What is your name?", "Who are you?"):
        prompt(http, undisturbed, text)
    prompt(http, id, "What is your name?")
    if how == "swap":
        prompt(http, make(http, model="b"), "Hello")
    else:
        assert daemon.terminate() == 0
        daemon.start()
    turn = prompt(daemon.http, id, "Who are you?")
    assert turn["response"] == history(daemon.http, undisturbed)[1]["response"]
    assert evaluated(turn) < 40


def test_a_model_that_is_gone_is_told(daemon: DaemonProcess) -> None:
    """A session stays with its model; once that is here again it goes on."""
    http = daemon.http
    id = make(http)
    prompt(http, id, "Hello")
    assert http.delete("/models/a").status_code == 200
    refused = http.post(f"/runnerd/sessions/{id}/prompt", json={"prompt": "Hello"})
    assert (refused.status_code, "model of this session, a, is not here" in refused.text) == (
        404,
        True,
    )
    daemon.import_model(DEMO / "demo-a.gguf", "again")
    assert prompt(http, id, "Hello")["number"] == 2


@pytest.mark.parametrize("slots", [1, 2])
def test_each_of_many_sessions_is_evaluated_once(daemon: DaemonProcess, slots: int) -> None:
    """More sessions than slots, over a swap and a restart: each prompt evaluates what is new."""
    http = daemon.http
    http.post("/engines/_configure", json={"model": "a", "parallel": slots})
    talks = [make(http, system=f"{number}. {SYSTEM}") for number in range(5)]
    undisturbed = [prompt(http, id, "What is your name?") for id in talks]
    assert all(evaluated(turn) > 100 for turn in undisturbed)
    for number, text in enumerate(("Who are you?", "And what is this?")):
        if number:
            assert daemon.terminate() == 0
            daemon.start()
        else:
            prompt(http, make(http, model="b"), "Hello")
        for id in talks:
            assert evaluated(prompt(daemon.http, id, text)) < 40
    assert "restored a session" in daemon.text()


def test_what_was_evaluated_goes_with_its_session(daemon: DaemonProcess) -> None:
    """Nothing of it is left on the disk."""
    http = daemon.http
    talks = [make(http), make(http, system=f"2. {SYSTEM}")]
    for id in talks:
        prompt(http, id, "Hello")
    http.post("/engines/unload", json={"all": True})
    folder = daemon.state_dir / "slots"
    before = len(list(folder.glob("*.slot")))
    assert before >= 2
    for id in talks:
        assert http.delete(f"/runnerd/sessions/{id}").status_code == 200
    assert len(list(folder.glob("*.slot"))) == before - 2


@pytest.mark.parametrize(("slots", "cache"), [(1, 1), (2, 1), (2, 0)])
def test_what_an_engine_drops_is_saved_before(tmp_path: Path, slots: int, cache: int) -> None:
    """More sessions than its slots and its RAM hold: each prompt evaluates what is new."""
    backends = f'{{"llama.cpp": {{"prompt_cache": {cache}}}}}'
    with running(tmp_path, env={"RUNNERD_BACKENDS": backends}) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        http = daemon.http
        http.post("/engines/_configure", json={"model": "a", "parallel": slots})
        talks = [make(http, system=f"{number}. {SYSTEM}") for number in range(6)]
        undisturbed = []
        for id in talks:
            turn = prompt(http, id, "What is your name?")
            assert evaluated(turn) > 100
            before = turn["usage"]["prompt_tokens"] + turn["usage"]["completion_tokens"]
            undisturbed.append(before)
        for text in ("Who are you?", "And what is this?"):
            for number, id in enumerate(talks):
                chat = {"role": "user", "content": f"Something else, {number} {text} " * 9}
                asked = {"model": "a", "messages": [chat], **GREEDY}
                http.post("/v1/chat/completions", json=asked).raise_for_status()
                usage = (turn := prompt(http, id, text))["usage"]
                new = usage["prompt_tokens"] - undisturbed[number]
                assert evaluated(turn) <= new + LAST_TOKENS, (number, text, turn)
                undisturbed[number] = usage["prompt_tokens"] + usage["completion_tokens"]
        assert "saved a session that would be dropped" in daemon.text()
        slots_folder = daemon.state_dir / "slots"  # the latest save may replace an older one now
        wait_for(lambda: len(list(slots_folder.glob("*.slot"))) <= len(talks), "one of each")
