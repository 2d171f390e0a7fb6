"""ProtoLLM's published APIs, both generations, with `runnerd worker` as their LLM-core."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_worker import ANSWER, QUESTION, Site, running_site
from tests.support.plain_http import NO_TLS
from tests.support.ports import reserved_port
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(300)]

_ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(__file__).with_name("programs") / "protollm"
META = {"temperature": 0, "tokens_limit": 32}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Broker, results, a host, and a worker on it."""
    root = tmp_path_factory.mktemp("protollm")
    with running_site(root) as found, found.worker(log=root / "worker.log"):
        yield found


def python(version: str) -> str:
    """The interpreter that has a published package."""
    found = _ROOT / ".venv-clients" / f"protollm-{version}" / "bin" / "python"
    assert found.exists(), "ProtoLLM's packages are not installed: run `make test-clients`"
    return str(found)


@contextmanager
def running_api(site: Site, version: str, *arguments: str) -> Iterator[httpx.Client]:
    """Serve a published API for the length of a with block."""
    program = _PROGRAMS / f"api_{version.replace('.', '_')}.py"
    environment = {
        **os.environ,
        **site.environment,
        **{"REDIS_PREFIX": "llm-api", "QUEUE_DURABLE": "true", "BASE_PRIORITY": "1"},
        **{"REDIS_PREFIX_FOR_STATUS": "job-status", "REDIS_PREFIX_FOR_ANSWER": "job-answer"},
        **{"TIMEOUT": "60", "INNER_LLM_URL": "unused:1"},
    }
    with reserved_port() as port:
        process = subprocess.Popen(
            [python(version), str(program), str(port), *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=120 * SECONDS, verify=NO_TLS
            ) as client:
                wait_for(lambda: _answers(client), "the published API", limit=60 * SECONDS)
                yield client
        finally:
            process.kill()
            process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/openapi.json").status_code == 200
    except httpx.TransportError:
        return False


def generate(client: httpx.Client, content: str = QUESTION, **more: Any) -> dict[str, Any]:
    """Ask for a text; the response's document."""
    body = {"job_id": uuid.uuid4().hex, "meta": META, "content": content} | more
    response = client.post("/generate", json=body)
    assert response.status_code == 200, response.text
    document = response.json()
    assert isinstance(document, dict)
    return document


CASES = [("1.0",), ("1.1", "sync")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_waiting_for_the_result(site: Site, case: tuple[str, ...]) -> None:
    """Both calls, one after the other and several at once: no client hangs or runs into its limit.

    The republish rule is what makes this pass: the worker is faster than the API subscribes.
    """
    with running_api(site, *case) as client:
        for _ in range(6):
            assert generate(client) == {"content": ANSWER}
        body = {
            "job_id": uuid.uuid4().hex,
            "meta": META,
            "messages": [{"role": "user", "content": QUESTION}],
        }
        assert client.post("/chat_completion", json=body).json() == {"content": ANSWER}
        with ThreadPoolExecutor(4) as pool:
            several = list(pool.map(lambda _: generate(client), range(12)))
        assert several == [{"content": ANSWER}] * 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_failure_is_told(site: Site, case: tuple[str, ...]) -> None:
    """The words of the error are the content, since there is no other way to tell."""
    with running_api(site, *case) as client:
        told = generate(client, meta={"temperature": "cold"} | META | {"tokens_limit": -7})
        assert "400" in told["content"]
        assert generate(client) == {"content": ANSWER}


def test_asking_later(site: Site) -> None:
    """The second generation's other router: the id at once, and the status as often as wanted."""
    with running_api(site, "1.1", "async") as client:
        job_id = uuid.uuid4().hex
        assert generate(client, job_id=job_id) == {"content": job_id}

        def status() -> dict[str, Any]:
            document = client.post("/check_status", params={"job_id": job_id}).json()
            assert isinstance(document, dict)
            return document

        wait_for(lambda: status()["job_status"] == "completed", "the job")
        assert status()["content"] == {"result": ANSWER}
