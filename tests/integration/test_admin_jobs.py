"""`/runnerd/jobs` and the commands over it, with a real daemon and engine."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.jobs.changes import MOST_FOLLOWERS
from tests.integration.test_user_commands import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, wait_for

SHORT = {"model": "tiny", "prompt": "Hello", "parameters": {"max_tokens": 4}}
LONG = {"model": "tiny", "prompt": "Hello", "parameters": {"max_tokens": 6000}}


class Terminal:
    """Runs commands against a daemon, and reads what they print."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon

    def run(self, *arguments: str, status: int = 0) -> str:
        ended, out, err = runnerd(self._daemon, *arguments)
        assert ended == status, err
        return out

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status))


@pytest.fixture
def terminal(native: DaemonProcess) -> Terminal:
    return Terminal(native)


@pytest.fixture
def own(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon that a test can end."""
    with running(tmp_path, env={"RUNNERD_DRAIN_TIMEOUT": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def submitted(client: httpx.Client, document: dict[str, Any]) -> str:
    response = client.post("/runnerd/jobs", json=document)
    assert response.status_code == 201, response.text
    return str(response.json()[0]["id"])


def state(client: httpx.Client, id: str) -> str:
    return str(client.get(f"/runnerd/jobs/{id}").json()["state"])


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    wait_for(lambda: state(client, id) not in ("queued", "running"), "the job to end")
    return dict(client.get(f"/runnerd/jobs/{id}").json())


@pytest.mark.engine
def test_from_submission_to_removal(terminal: Terminal) -> None:
    """A job is submitted, watched, listed, shown and removed."""
    printed = terminal.run("submit", "tiny", "Hello", "--max-tokens", "8", "--watch")
    id, _, output = printed.partition("\n")
    assert output.strip()
    assert id in terminal.run("jobs")
    assert id in terminal.run("jobs", "list", "--state", "completed", "--model", "tiny")
    shown = terminal.json("jobs", "show", id)
    assert (shown["state"], shown["output"].strip()) == ("completed", output.strip())
    assert shown["responses"][0]["body"]["usage"]["completion_tokens"] <= 8
    assert "completed" in terminal.run("jobs", "show", id[-12:])
    assert any(queue["completed"] for queue in terminal.json("queues"))
    terminal.run("queues")
    terminal.run("jobs", "rm", id)
    terminal.run("jobs", "show", id, status=1)


@pytest.mark.engine
def test_several_prompts(native: DaemonProcess) -> None:
    """Each has its own response, in order, in one job."""
    prompts = {"model": "tiny", "prompts": ["a", "b", "c"], "parameters": {"max_tokens": 3}}
    job = ended(native.http, submitted(native.http, prompts))
    assert job["state"] == "completed"
    assert [response["status"] for response in job["responses"]] == [200, 200, 200]
    assert [each["body"]["messages"][0]["content"] for each in job["requests"]] == ["a", "b", "c"]


def request(custom_id: str, **body: Any) -> dict[str, Any]:
    """A line of a batch."""
    usual = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    url = "/v1/chat/completions"
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": usual | body}


@pytest.mark.engine
def test_a_batch(terminal: Terminal, tmp_path: Path) -> None:
    """Each request's result is in the file; what failed is said, and is the exit status."""
    file, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps(request(f"{n}")) + "\n" for n in range(5)))
    terminal.run("batch", str(file), "-o", str(output))
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert {result["custom_id"] for result in results} == set("01234")
    terminal.run("batch", str(file), "-o", str(output), status=1)  # it is there already
    assert len(output.read_text().splitlines()) == 5
    assert len(terminal.run("batch", str(file)).splitlines()) == 5
    file.write_text(json.dumps(request("good")) + "\n" + json.dumps(request("bad", messages=1)))
    done = terminal.run("batch", str(file), status=1)
    assert {json.loads(line)["custom_id"] for line in done.splitlines()} == {"good", "bad"}
    file.write_text(json.dumps(request("a", model="nowhere")))
    assert terminal.run("batch", str(file), status=1) == ""


@pytest.mark.engine
def test_a_batch_that_is_interrupted(native: DaemonProcess, tmp_path: Path) -> None:
    """Ctrl-C cancels it, and the command says so."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(request(f"{n}", max_tokens=6000)) + "\n" for n in range(9)))
    before = {batch["id"] for batch in native.http.get("/v1/batches").json()["data"]}
    arguments = ["--host", f"unix://{native.socket}", "batch", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "runnerd", *arguments], stderr=subprocess.PIPE, text=True
    )

    def under_way() -> list[dict[str, Any]]:
        found = native.http.get("/v1/batches").json()["data"]
        new = [batch for batch in found if batch["id"] not in before]
        return [batch for batch in new if batch["status"] == "in_progress"]

    try:
        wait_for(lambda: bool(under_way()), "the batch to run")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60 * SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "the batch is cancelled; 0 of 9 requests were answered" in said
    wait_for(lambda: not under_way(), "the batch to end")


@pytest.mark.engine
def test_any_inference_route(native: DaemonProcess) -> None:
    """A job is not only chats."""
    requests = [{"path": "/v1/embeddings", "body": {"input": "text"}}]
    job = ended(native.http, submitted(native.http, {"model": "embed", "requests": requests}))
    assert job["responses"][0]["body"]["data"][0]["embedding"]


@pytest.mark.engine
def test_a_prompt_that_is_refused(native: DaemonProcess) -> None:
    """It is the response of that prompt, and a job of nothing else has failed at once."""
    wrong = {"path": "/v1/chat/completions", "body": {"messages": 1}}
    good = {
        "path": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2},
    }
    some = ended(native.http, submitted(native.http, {"model": "tiny", "requests": [wrong, good]}))
    assert some["state"] == "completed"
    assert [response["status"] for response in some["responses"]] == [400, 200]
    none = ended(native.http, submitted(native.http, {"model": "tiny", "requests": [wrong]}))
    assert none["state"] == "failed"
    assert none["reason"]
    assert none["responses"][0]["body"]["error"]["message"] == none["reason"]
    assert len(none["attempts"]) == 1


@pytest.mark.engine
def test_cancelled_at_the_engine(native: DaemonProcess, terminal: Terminal) -> None:
    """An engine works on a cancelled job no longer."""
    id = submitted(native.http, LONG)
    wait_for(lambda: native.http.get(f"/runnerd/jobs/{id}").json()["output"], "output")
    assert "cancelled" in terminal.run("jobs", "cancel", id)

    def idle() -> bool:
        records = native.http.get("/engines/requests").json()
        return all(record["duration_seconds"] is not None for record in records)

    wait_for(idle, "the request to end")
    assert state(native.http, id) == "cancelled"
    again = terminal.run("jobs", "retry", id)
    assert "queued" in again or "running" in again
    terminal.run("jobs", "cancel", id)
    terminal.run("watch", id, status=1)


@pytest.mark.engine
def test_cancelling_what_has_ended(native: DaemonProcess, terminal: Terminal) -> None:
    """It stays as it is, and the exit status says that nothing was cancelled."""
    parameters = {"max_tokens": 2}
    said = {"model": "tiny", "prompt": "x", "parameters": parameters}
    id = submitted(native.http, said)
    assert ended(native.http, id)["state"] == "completed"
    assert "completed" in terminal.run("jobs", "cancel", id, status=1)
    assert state(native.http, id) == "completed"


@pytest.mark.engine
def test_output_grows(native: DaemonProcess) -> None:
    """Whoever follows sees it come, in more than one piece."""
    id = submitted(native.http, LONG)
    outputs = []
    with native.http.stream("GET", f"/runnerd/jobs/{id}?follow=true") as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                outputs.append(json.loads(line[6:])["output"])
            if len({output for output in outputs if output}) >= 3:
                break
    grown = [output for output in outputs if output]
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))
    native.http.delete(f"/runnerd/jobs/{id}")


@pytest.mark.engine
def test_others_jobs_are_not_there(native: DaemonProcess) -> None:
    """Whatever is asked of them."""
    with native.stranger("ann") as ann, native.stranger("ben") as ben:
        id = submitted(ann, SHORT)
        for response in (
            ben.get(f"/runnerd/jobs/{id}"),
            ben.get(f"/runnerd/jobs/{id}?follow=true"),
            ben.post(f"/runnerd/jobs/{id}/cancel"),
            ben.post(f"/runnerd/jobs/{id}/retry"),
            ben.delete(f"/runnerd/jobs/{id}"),
        ):
            assert response.status_code == 404
        assert ben.get("/runnerd/jobs").json() == []
        assert ben.get("/runnerd/queues").json() == []
        assert [job["id"] for job in ann.get("/runnerd/jobs").json()] == [id]
        assert ann.get("/runnerd/jobs").json()[0]["user"] == "ann"
        ended(ann, id)
        assert ann.post(f"/runnerd/jobs/{id}/retry").status_code == 409


@pytest.mark.engine
def test_a_key_that_is_rotated(native: DaemonProcess) -> None:
    """A user's jobs go on when its key is another one; without any key they have failed."""
    http = native.http
    made = http.post("/runnerd/users", json={"name": "rita"}).json()
    with httpx.Client(
        base_url=native.address, headers={"Authorization": f"Bearer {made['key']}"}, verify=NO_TLS
    ) as rita:
        blocker = submitted(http, LONG)
        wait_for(lambda: state(http, blocker) == "running", "it to run")
        first = submitted(rita, SHORT | {"prompt": None, "prompts": ["a"] * 400})
        [key] = http.get("/runnerd/users/rita").json()["keys"]
        rotated = http.post(f"/runnerd/keys/{key['id']}/rotate")
        assert rotated.status_code in (200, 201), rotated.text
    job = ended(http, first)
    assert {response["status"] for response in job["responses"]} == {200}
    http.delete(f"/runnerd/jobs/{blocker}")
    http.delete("/runnerd/users/rita")


@pytest.mark.engine
def test_a_key_that_is_rotated_under_a_prompt(native: DaemonProcess) -> None:
    """The prompt goes on, while a request that has shown the old key ends with it."""
    http = native.http
    made = http.post("/runnerd/users", json={"name": "rosa"}).json()
    with httpx.Client(
        base_url=native.address, headers={"Authorization": f"Bearer {made['key']}"}, verify=NO_TLS
    ) as rosa:
        id = submitted(rosa, LONG)
        wait_for(lambda: http.get(f"/runnerd/jobs/{id}").json()["output"], "it to answer")
        [key] = http.get("/runnerd/users/rosa").json()["keys"]
        http.post(f"/runnerd/keys/{key['id']}/rotate").raise_for_status()
        assert rosa.get("/runnerd/jobs").status_code == 401
    job = ended(http, id)
    assert (job["state"], job["responses"][0]["status"]) == ("completed", 200), job
    http.delete("/runnerd/users/rosa")


@pytest.mark.engine
def test_the_same_id(native: DaemonProcess) -> None:
    """Submitting twice is one job."""
    first = submitted(native.http, SHORT | {"id": "my-job"})
    assert submitted(native.http, SHORT | {"id": "my-job"}) == first == "my-job"
    ended(native.http, first)


@pytest.mark.engine
def test_ids_are_each_users_own(native: DaemonProcess) -> None:
    """Two users choose the same: neither hears of the other's, through any API; owners see both."""
    http = native.http
    with native.stranger("cleo") as cleo, native.stranger("dora") as dora:
        chosen = SHORT | {"id": "same"}
        assert [submitted(each, chosen) for each in (cleo, dora, http)] == ["same"] * 3
        assert submitted(dora, SHORT | {"id": submitted(cleo, SHORT)})  # nor of one not chosen
        for each, name in ((cleo, "cleo"), (dora, "dora")):
            assert ended(each, "same")["user"] == name
            assert "same" in [job["id"] for job in each.get("/runnerd/jobs").json()]
            before = each.get("/runnerd/jobs", params={"before": "same"})
            assert before.json() == []
            assert list(each.get("/jobs/same").json()["jobs"]) == ["same"]
        assert cleo.delete("/runnerd/jobs/same").json() == {"id": "same", "deleted": True}
        assert cleo.get("/runnerd/jobs/same").status_code == 404
        assert cleo.get("/runnerd/jobs", params={"before": "same"}).status_code == 404
        assert state(dora, "same") == "completed"
        [of_dora] = [
            job["id"]
            for job in http.get("/runnerd/jobs").json()
            if job["user"] == "dora" and job["id"].startswith("same")
        ]
        assert http.delete(f"/runnerd/jobs/{of_dora}").status_code == 200
        assert dora.get("/runnerd/jobs/same").status_code == 404
        assert ended(http, "same")["state"] == "completed"
        http.delete("/runnerd/jobs/same")


def test_no_door_gives_a_higher_priority(native: DaemonProcess) -> None:
    """A user's head start is what the owner allows, through every API and in batches."""
    http, model = native.http, SHORT["model"]
    said = {"name": "lou", "limits": {"priority": -5}}
    made = http.post("/runnerd/users", json=said).raise_for_status().json()
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": model}}
    with httpx.Client(
        base_url=native.address, headers={"Authorization": f"Bearer {made['key']}"}, verify=NO_TLS
    ) as lou:
        submitted(lou, SHORT | {"priority": 50})
        text = {"app": "gridrepublic:text-inference", "commandLine": '{"inputs": ["a"]}'}
        lou.post("/jobs", json=text | {"tag": model}).raise_for_status()
        prompt = {"job_id": "x", "priority": 5, "meta": {"model": model}, "content": "a"}
        later = {"Prefer": "respond-async"}
        lou.post("/generate", json=prompt, headers=later).raise_for_status()
        files = {"file": ("a.jsonl", json.dumps(line).encode())}
        file = lou.post("/v1/files", data={"purpose": "batch"}, files=files).json()["id"]
        batch = {"input_file_id": file, "endpoint": line["url"], "completion_window": "24h"}
        lou.post("/v1/batches", json=batch).raise_for_status()
        wait_for(lambda: len(lou.get("/runnerd/jobs").json()) == 4, "all to be submitted")
        assert [job["priority"] for job in lou.get("/runnerd/jobs").json()] == [-5] * 4
    http.delete("/runnerd/users/lou")


@pytest.mark.engine
def test_too_many_followers(native: DaemonProcess) -> None:
    """One more than a user may have is told so; who leaves makes room."""
    job = submitted(native.http, LONG)
    wait_for(lambda: state(native.http, job) == "running", "it to run")
    path = f"/runnerd/jobs/{job}?follow"
    with httpx.Client(
        base_url=native.address, limits=httpx.Limits(), timeout=60, verify=NO_TLS
    ) as client:
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_FOLLOWERS):
                assert stack.enter_context(client.stream("GET", path)).status_code == 200
            with client.stream("GET", path) as refused:
                assert refused.status_code == 429

        def room() -> bool:
            with client.stream("GET", path) as response:
                return response.status_code == 200

        wait_for(room, "those that have left to make room")
    native.http.delete(f"/runnerd/jobs/{job}").raise_for_status()


_PART = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="a%s"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    "form",
    [
        _PART % (b"file", b"\0") + b"--B--\r\n",
        _PART % (b"file", b"") + b"--B\r\nno header\r\n\r\n--B--\r\n",
        _PART % (b"file", b"") + b"--B\r\nA: " + b"x" * 100_000 + b"\r\n\r\n--B--\r\n",
        _PART % (b"file", b""),
    ],
)
def test_a_form_that_is_none(native: DaemonProcess, form: bytes) -> None:
    """It is refused, and no file of it is kept."""
    before = native.http.get("/v1/files").json()["data"]
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    response = native.http.post("/v1/files", content=form, headers=headers)
    assert response.status_code == 400, response.text
    assert native.http.get("/v1/files").json()["data"] == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": None},
        {"prompt": None},
        {"prompt": 1},
        {"prompts": ["a"]},
        {"copies": 0},
        {"copies": 2, "id": "x"},
        {"id": "a/b"},
        {"id": "protollm-0123"},
        {"priority": 1000},
        {"expires_in": -1},
        {"runtime": "1"},
        {"parameters": []},
        {"prompt": None, "requests": [{"path": "/jobs", "body": {}}]},
        {"prompt": None, "requests": [{"body": 1}]},
        {"prompt": None, "prompts": []},
        {"other": 1},
    ],
)
def test_what_is_wrong(native: DaemonProcess, wrong: dict[str, Any]) -> None:
    """It is refused with a reason, and nothing is kept."""
    response = native.http.post("/runnerd/jobs", json=SHORT | wrong)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


@pytest.mark.engine
def test_a_restart(own: DaemonProcess) -> None:
    """A job that runs when the daemon is killed runs again; what was done stays done."""
    done = submitted(own.http, SHORT)
    ended(own.http, done)
    running = submitted(own.http, LONG | {"parameters": {"max_tokens": 2000}})
    wait_for(lambda: state(own.http, running) == "running", "it to run")
    own.kill()
    own.start()
    assert ended(own.http, running)["state"] == "completed"
    [attempt] = own.http.get(f"/runnerd/jobs/{running}").json()["attempts"]
    assert attempt["end"] == "lost"
    assert state(own.http, done) == "completed"


@pytest.mark.engine
@pytest.mark.long
def test_a_graceful_end(own: DaemonProcess) -> None:
    """A job that runs for longer than the drain is given back, and counts no try."""
    running = submitted(own.http, LONG)
    wait_for(lambda: state(own.http, running) == "running", "it to run")
    own.terminate()
    own.start()
    job = ended(own.http, running)
    assert (job["state"], job["attempts"]) == ("completed", [])


@pytest.mark.engine
@pytest.mark.long
def test_results_have_a_limit(tmp_path: Path, gguf: Path) -> None:
    """Of each user: then jobs fail and say so, more are refused, and others go on; `df` tells."""
    env = {"RUNNERD_JOBS": '{"result_bytes": 1500, "patience": 0}'}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        asked = {"model": "tiny", "prompts": ["a"] * 50, "parameters": {"max_tokens": 1}}
        [job] = daemon.http.post("/runnerd/jobs", json=asked).json()
        path = f"/runnerd/jobs/{job['id']}"
        wait_for(lambda: daemon.http.get(path).json()["state"] == "failed", "the job to fail")
        failed = daemon.http.get(path).json()
        assert "jobs.result_bytes" in failed["reason"]
        assert failed["attempts"][-1]["reason"] == failed["reason"]
        assert 0 < len(failed["responses"]) < 50
        used = daemon.http.get("/engines/df").json()["jobs_disk_usage"]
        assert 0 < used["results"] <= used["most_results"] == 1500
        assert "one user's at most 4.00 GiB and 1.46 KiB" in runnerd(daemon, "df")[1]
        with daemon.stranger("ann") as ann:
            assert ann.get("/engines/df").json()["jobs_disk_usage"]["results"] == 0
            small = {"model": "tiny", "prompt": "a", "parameters": {"max_tokens": 1}}
            [theirs] = ann.post("/runnerd/jobs", json=small).json()
            path = f"/runnerd/jobs/{theirs['id']}"
            wait_for(lambda: ann.get(path).json()["state"] == "completed", "another user's job")
