"""ProtoLLM's results outlive their Redis: what was seen, or acknowledged, is there again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_protollm import prompt
from tests.integration.test_worker import ANSWER, Site, task
from tests.support.daemon import DaemonProcess
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def front_settings() -> dict[str, str]:
    """Of a daemon that publishes prompts."""
    return {"RUNNERD_PROTOLLM": '{"broker": true}'}


async def test_power_is_cut_before_a_result_is_read(own_site: Site, tmp_path: Path) -> None:
    """Redis' file lacks the result; whoever reads it afterwards finds it, of both generations."""
    site = own_site
    with site.worker(log=tmp_path / "log"):
        await site.publish(task("earlier"))
        wait_for(lambda: site.result("earlier"), "a result", limit=60 * SECONDS)
        written = site.redis.written()
        await site.publish(task("lost"))
        wait_for(lambda: site.result("lost"), "a result")
        wait_for(lambda: _settled(site), "the task to be settled")
        site.redis.lose_power(written)
        site.redis.start()
        wait_for(lambda: site.result("lost"), "the result again")
    assert (site.result("lost"), site.result("earlier")) == (ANSWER, ANSWER)
    assert b'"completed"' in (site.results.get("job-status:lost") or b"")


def test_redis_is_emptied(site: Site, front: DaemonProcess, tmp_path: Path) -> None:
    """Results are there as before, and are their users' alone; what waits has its result later."""
    done, waits = prompt(), prompt()
    with site.worker(log=tmp_path / "log"):
        _submit(front.http, done)
        wait_for(
            lambda: _status(front.http, done)[0] == "completed", "a result", limit=60 * SECONDS
        )
    _submit(front.http, waits)
    site.results.flushall()
    assert _status(front.http, done) == ("completed", {"result": ANSWER})
    assert _status(front.http, waits)[0] == "pending"
    with front.stranger() as stranger:
        params = {"job_id": done["job_id"]}
        assert stranger.post("/check_status", params=params).status_code == 404
        _submit(stranger, done)  # an id is its user's own
        assert _status(stranger, done)[0] == "pending"
    assert _status(front.http, done) == ("completed", {"result": ANSWER})
    with site.worker(log=tmp_path / "log"):
        wait_for(
            lambda: _status(front.http, waits)[0] == "completed", "a result", limit=60 * SECONDS
        )


def test_an_id_is_used_again(site: Site, front: DaemonProcess, tmp_path: Path) -> None:
    """An emptied Redis shows the later prompt's result, never the earlier one's."""
    first = prompt()
    again = first | {"content": "Count to three."}
    with site.worker(log=tmp_path / "log"):
        for body in (first, again):
            _submit(front.http, body)
            wait_for(lambda: _status(front.http, body)[0] == "completed", "a result")  # noqa: B023
    before = _status(front.http, again)
    site.results.flushall()
    assert _status(front.http, again) == before != ("completed", {"result": ANSWER})
    _submit(front.http, first)
    site.results.flushall()
    assert _status(front.http, first)[0] == "pending"


def _submit(client: httpx.Client, body: dict[str, Any]) -> None:
    """Hand a prompt in and do not wait for it."""
    later = client.post("/generate", json=body, headers={"Prefer": "respond-async"})
    assert later.json() == {"content": body["job_id"]}


def _status(client: httpx.Client, body: dict[str, Any]) -> tuple[str, Any]:
    told = client.post("/check_status", params={"job_id": body["job_id"]})
    assert told.status_code == 200, told.text
    return told.json()["job_status"], told.json()["content"]


def _settled(site: Site) -> bool:
    return "llm-api-queue\t0" in site.rabbitmq.control("list_queues", "-q", "name", "messages")
