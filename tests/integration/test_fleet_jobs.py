"""Jobs that one daemon takes in and another host's worker runs, over RabbitMQ and Redis."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_worker import QUESTION, Site
from tests.support.daemon import DaemonProcess
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def front_settings() -> dict[str, str]:
    """Of a daemon that only takes jobs in; it may name a model that it has not."""
    return {"RUNNERD_JOBS": '{"fleet": true}', "RUNNERD_AUTO_PULL": "true"}


def submit(client: httpx.Client, *inputs: str, **more: Any) -> str:
    """Submit a job of GridRepublic's; its id."""
    command = json.dumps({"inputs": inputs})
    body = {"app": "gridrepublic:text-inference", "commandLine": command, "tag": "demo-a"} | more
    response = client.post("/jobs", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["ids"][0])


def job(client: httpx.Client, id: str) -> dict[str, Any]:
    """How a job stands."""
    return dict(client.get(f"/jobs/{id}").json()["jobs"][id])


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    """A job that has ended."""
    over = ("completed", "failed", "aborted")
    wait_for(lambda: job(client, id)["vmStatus"] in over, "the job to end", limit=60 * SECONDS)
    return job(client, id)


def test_jobs_are_run_by_a_worker(site: Site, front: DaemonProcess, tmp_path: Path) -> None:
    """Also those that were submitted before there was one; a model that no host has waits."""
    before = submit(front.http, QUESTION)
    waits = submit(front.http, QUESTION, tag="no-such-model")
    with site.worker("--jobs", log=tmp_path / "log") as worker:
        done = ended(front.http, before)
        assert (done["vmStatus"], done["tag"]) == ("completed", "demo-a"), done
        assert done["states"]["default"]["log"] == "My name is Demo A."
        several = ended(front.http, submit(front.http, QUESTION, QUESTION))
        assert several["states"]["default"]["log"].count("My name is Demo A.") == 2
        ids = [submit(front.http, QUESTION) for _ in range(20)]
        assert {ended(front.http, id)["vmStatus"] for id in ids} == {"completed"}
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60 * SECONDS) == 0
    assert job(front.http, waits)["vmStatus"] == "provisioning"
    with front.stranger() as stranger:
        assert stranger.get(f"/jobs/{before}").status_code == 404


def test_a_cancelled_job_ends_at_its_engine(
    site: Site, front: DaemonProcess, tmp_path: Path
) -> None:
    """Within moments, on another host."""
    with site.worker("--jobs", log=tmp_path / "log"):
        id = submit(front.http, "Count to a million.")
        wait_for(lambda: job(front.http, id)["vmStatus"] == "running", "the job to run")
        front.http.post(f"/jobs/{id}/cancel")
        assert job(front.http, id)["vmStatus"] in ("aborted", "completed")
        wait_for(lambda: not any(runner["in_use"] for runner in site.daemon.ps()), "an idle engine")


def test_whose_work_it_was(site: Site, front: DaemonProcess, tmp_path: Path) -> None:
    """The host of the worker counts and lists jobs as their users', apart from its own people's;
    only an owner can say whose a request is.
    """
    with (
        front.stranger("submits") as user,
        site.daemon.stranger("pretends") as other,
        site.worker("--jobs", log=tmp_path / "log"),
    ):
        whose = f"user {user.get('/runnerd/me').json()['id']}"
        done = submit(user, QUESTION)
        ended(user, done)
        own = submit(front.http, QUESTION)
        ended(front.http, own)
        body = {"model": "demo-a", "messages": [{"role": "user", "content": QUESTION}]}
        pretended = other.post("/v1/chat/completions", json=body, headers={"X-On-Behalf-Of": whose})
        assert pretended.status_code == 200
    records = site.daemon.http.get("/engines/requests").json()
    of_worker = [each["principal"] for each in records if each["origin"] == "runnerd-worker"]
    assert of_worker[-2:] == [whose, f"fleet uid {os.getuid()}"]
    assert [each["principal"] for each in records].count(whose) == 1
    wait_for(lambda: _requests(site.daemon, whose) == 1, "the usage to be counted")
    record = front.http.get(f"/runnerd/jobs/{done}").json()
    assert record["worker"].startswith(socket.gethostname())


def _requests(daemon: DaemonProcess, whose: str) -> int:
    """How many requests were counted as somebody's."""
    used = daemon.http.get("/runnerd/usage", params={"by": "user"}).json()
    return sum(each["requests"] for each in used if whose in each.values())
