"""GridRepublic's jobs API over the real wire, with a real engine behind it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

PATHS = ("/remotejobs/v2/jobs", "/jobs")
APP = "gridrepublic:text-inference"


def body(*inputs: str, **more: Any) -> dict[str, Any]:
    """What a client submits."""
    return {"app": APP, "commandLine": json.dumps({"inputs": inputs}), "tag": "other", **more}


def submitted(client: httpx.Client, document: dict[str, Any], path: str = PATHS[0]) -> list[str]:
    """The ids of jobs that were submitted."""
    response = client.post(path, json=document)
    assert response.status_code == 200, response.text
    assert response.json()["success"] is True
    ids = response.json()["ids"]
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
    return list(ids)


def jobs(client: httpx.Client, *ids: str, path: str = PATHS[0]) -> dict[str, Any]:
    """How jobs stand."""
    response = client.get(f"{path}/{','.join(ids)}")
    assert response.status_code == 200, response.text
    assert response.json()["success"] is True
    return dict(response.json()["jobs"])


def done(client: httpx.Client, id: str) -> dict[str, Any]:
    """A job that has ended."""
    ended = ("completed", "failed", "aborted")
    wait_for(lambda: jobs(client, id)[id]["vmStatus"] in ended, "the job to end")
    return dict(jobs(client, id)[id])


@pytest.mark.engine
@pytest.mark.parametrize("path", PATHS)
def test_a_prompt_is_answered(native: DaemonProcess, path: str) -> None:
    """A user submits with a key, and finds the output in `log`, in the published shape."""
    with native.stranger(f"grid{PATHS.index(path)}") as client:
        command = body("Why is the sky blue?")
        [id] = submitted(client, command, path)
        job = done(client, id)
        assert job["vmStatus"] == "completed", job
        state = job["states"]["default"]
        assert state["log"]
        assert {name: state[name] for name in state if name != "log"} == {
            "status": "completed",
            "outputFiles": [],
            "commandLine": command["commandLine"],
            "app": APP,
        }
        assert (job["copy"], job["tag"]) == (0, "other")
        assert isinstance(job["runtime"], int)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", job["created"])
        datetime.fromisoformat(job["created"])


@pytest.mark.engine
def test_several_inputs_and_copies(native: DaemonProcess) -> None:
    """Inputs of one job share its log, copies have ids of their own."""
    ids = submitted(native.http, body("one", "two", copies=2))
    assert len(set(ids)) == 2
    found = [done(native.http, id) for id in ids]
    assert [job["copy"] for job in found] == [0, 1]
    for job in found:
        assert "\n" in job["states"]["default"]["log"]


def test_the_earlier_way_to_write_it(native: DaemonProcess) -> None:
    """Single quotes, and `input`, as an earlier version of their documentation has it."""
    [id] = submitted(native.http, body() | {"commandLine": "{'input': ['It\\'s \"so\"?'] }"})
    assert jobs(native.http, id)[id]["states"]["default"]["commandLine"].startswith("{'input'")


@pytest.mark.parametrize(
    "wrong",
    [
        {"commandLine": "Why?"},
        {"commandLine": '{"inputs": []}'},
        {"commandLine": '{"inputs": [1]}'},
        {"commandLine": {"inputs": ["x"]}},
        {"app": "other"},
        {"copies": 0},
        {"copies": 1.5},
        {"hours": "1"},
        {"tag": ""},
    ],
)
def test_what_is_wrong(native: DaemonProcess, wrong: dict[str, Any]) -> None:
    """It is told in their form."""
    response = native.http.post(PATHS[0], json=body("x") | wrong)
    assert response.status_code == 400
    assert response.json()["success"] is False
    assert isinstance(response.json()["error"], str)


def test_a_model_that_is_not_here(native: DaemonProcess) -> None:
    """Nothing is kept for later."""
    response = native.http.post(PATHS[0], json=body("x", tag="nowhere"))
    assert response.status_code == 404
    assert response.json()["success"] is False


def test_without_a_key_that_counts(native: DaemonProcess) -> None:
    """Told in their form, too."""
    headers = {"Authorization": "Bearer " + "x" * 43}
    response = httpx.post(native.address + PATHS[0], json=body("x"), headers=headers, verify=NO_TLS)
    assert response.status_code == 401
    assert response.json()["success"] is False


@pytest.mark.engine
def test_others_jobs_are_not_there(native: DaemonProcess) -> None:
    """Neither to be seen, nor cancelled, nor deleted, nor listed; owners have all."""
    with native.stranger("one") as one, native.stranger("two") as two:
        [id] = submitted(one, body("mine"))
        for response in (
            two.get(f"{PATHS[0]}/{id}"),
            two.post(f"{PATHS[0]}/{id}/cancel"),
            two.delete(f"{PATHS[0]}/{id}"),
        ):
            assert response.status_code == 404
            assert response.json() == {"success": False, "error": "there is no such job"}
        assert two.get(PATHS[0]).json() == {"success": True, "jobs": {}}
        assert list(one.get(PATHS[0]).json()["jobs"]) == [id]
        assert id in jobs(native.http, id)
        [other] = submitted(two, body("theirs"))
        assert list(jobs(two, id, other, "none")) == [other]
        done(one, id)
        assert one.delete(f"{PATHS[0]}/{id}").json() == {"success": True, "ids": [id]}
        assert one.get(f"{PATHS[0]}/{id}").status_code == 404
