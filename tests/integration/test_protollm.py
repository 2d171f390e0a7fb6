"""ProtoLLM's calls over the real wire: on the daemon's own queue, and through broker and Redis."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_worker import ANSWER, QUESTION, running_site
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
META = {"temperature": 0, "tokens_limit": 32}
SETTINGS = '{"queues": {"llm-api-queue": "demo-a", "small": "demo-b"}}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with two chat models and one that embeds, and no broker."""
    env = {"RUNNERD_PROTOLLM": SETTINGS}
    with running(tmp_path_factory.mktemp("protollm"), env=env) as found:
        for name in ("demo-a", "demo-b", "demo-embed"):
            found.import_model(_DEMO / f"{name}.gguf", name)
        yield found


def prompt(content: str = QUESTION, **more: Any) -> dict[str, Any]:
    """The body of /generate."""
    return {"job_id": uuid.uuid4().hex, "meta": META, "content": content} | more


def content(response: httpx.Response) -> str:
    """The text of a response."""
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"content"}
    return str(response.json()["content"])


def test_generate(daemon: DaemonProcess) -> None:
    """A prompt, and the text that follows; a queue means a model, by the settings or its name."""
    assert content(daemon.http.post("/generate", json=prompt())) == ANSWER
    for queue in ("small", "demo-b"):
        told = daemon.http.post("/generate", json=prompt(), params={"queue_name": queue})
        assert content(told) == "My name is Demo B."
    named = prompt(meta=META | {"model": "demo-b"}, priority=5)
    assert content(daemon.http.post("/generate", json=named)) == "My name is Demo B."
    unknown = prompt(meta=META | {"model": "gpt-model"})  # their documentation's example
    assert content(daemon.http.post("/generate", json=unknown)) == ANSWER


def test_chat_completion(daemon: DaemonProcess) -> None:
    """A conversation, with all fields that the published models have."""
    body = {
        "job_id": "12345",
        "priority": None,
        "source": "local",
        "meta": META | {"stop_words": ["Demo"], "model": None},
        "messages": [{"role": "user", "content": QUESTION}],
    }
    assert content(daemon.http.post("/chat_completion", json=body)).strip() == "My name is"


def test_an_id_twice(daemon: DaemonProcess) -> None:
    """The same call again is the same job; another prompt under the id is another one."""
    first, before = prompt(), len(daemon.http.get("/jobs?limit=1000").json()["jobs"])
    for _ in range(2):
        assert content(daemon.http.post("/generate", json=first)) == ANSWER
    other = first | {"content": "Count to three."}
    assert content(daemon.http.post("/generate", json=other)) != ANSWER
    assert len(daemon.http.get("/jobs?limit=1000").json()["jobs"]) == before + 2


def test_asking_later(daemon: DaemonProcess) -> None:
    """A client may take the id and ask for the result, as often as it likes; others may not."""
    body = prompt()
    params = {"job_id": body["job_id"]}
    later = daemon.http.post("/generate", json=body, headers={"Prefer": "respond-async"})
    assert content(later) == body["job_id"]

    def status() -> dict[str, Any]:
        return dict(daemon.http.post("/check_status", params=params).json())

    wait_for(lambda: status()["job_status"] == "completed", "the job")
    done = {"job_id": body["job_id"], "job_status": "completed", "error": None}
    assert status() == done | {"content": {"result": ANSWER}}
    with daemon.stranger("asking-later") as stranger:
        told = stranger.post("/check_status", params=params)
    assert told.status_code == 404
    assert told.json() == {"detail": f"Status for job: {body['job_id']} not found"}


@pytest.mark.parametrize(
    ("body", "type", "loc"),
    [
        (b"{", "json_invalid", ["body", 1]),
        (b'{"job_id":"\\ud800","meta":{},"content":"x"}', "json_invalid", ["body", 0]),
        (b"[]", "model_type", ["body"]),
        (b'{"meta":{},"content":"x"}', "missing", ["body", "job_id"]),
        (b'{"job_id":"x","content":"x"}', "missing", ["body", "meta"]),
        (
            b'{"job_id":"x","content":"x","meta":{"temperature":"cold"}}',
            "float_parsing",
            ["body", "meta", "temperature"],
        ),
    ],
)
def test_mistakes(daemon: DaemonProcess, body: bytes, type: str, loc: list[object]) -> None:
    """Each is told in FastAPI's form."""
    response = daemon.http.post("/generate", content=body)
    assert response.status_code == 422
    found = response.json()["detail"][0]
    assert found["loc"] == loc
    assert found["type"] in (type, "model_attributes_type")
    assert found["msg"]


def test_a_failure_is_the_content(daemon: DaemonProcess) -> None:
    """What becomes of a job is never an HTTP error; a queue that means no model is one."""
    told = daemon.http.post("/generate", json=prompt(meta=META | {"tokens_limit": -7}))
    assert "max_tokens" in content(told)
    response = daemon.http.post("/generate", json=prompt(), params={"queue_name": "none"})
    assert response.status_code == 404
    assert "none" in response.json()["detail"]
    assert daemon.http.post("/check_status").status_code == 422


def test_embed(daemon: DaemonProcess) -> None:
    """The vectors that OpenAI's route gives."""
    expected = daemon.http.post(
        "/v1/embeddings", json={"model": "demo-embed", "input": ["a cat", "a dog"]}
    ).json()["data"]
    body = {"inputs": ["a cat", "a dog"], "truncate": True}
    several = daemon.http.post("/embed", json=body).json()
    assert several == [pytest.approx(each["embedding"], abs=1e-5) for each in expected]
    [one] = daemon.http.post("/embed", json={"inputs": "a cat"}).json()
    assert one == pytest.approx(several[0], abs=1e-5)


def _own_id(client: httpx.Client, job_id: str) -> str:
    """Under which id the broker has a user's job whose id somebody else had used before."""
    me = client.get("/runnerd/me").json()["id"]
    return f"runnerd~{sha256(f'{me}{chr(10)}{job_id}'.encode()).hexdigest()}"


@pytest.mark.timeout(300)
def test_through_the_broker(tmp_path: Path) -> None:
    """Our API on one host in front of our worker on another; jobs of others are not there."""
    with running_site(tmp_path / "site") as site, site.worker(log=tmp_path / "worker.log"):
        env = {"RUNNERD_PROTOLLM": '{"broker": true}', **site.environment}
        with running(tmp_path / "front", env=env) as front:
            for _ in range(3):
                assert content(front.http.post("/generate", json=prompt())) == ANSWER
            body = prompt()
            assert content(front.http.post("/generate", json=body)) == ANSWER
            params = {"job_id": body["job_id"]}
            status = front.http.post("/check_status", params=params).json()
            assert (status["job_status"], status["content"]) == ("completed", {"result": ANSWER})
            with front.stranger() as stranger:
                assert stranger.post("/check_status", params=params).status_code == 404
                other = body | {"content": "Count to three."}  # under the same id
                counted = content(stranger.post("/generate", json=other))
                assert counted != ANSWER
                for client, text in ((stranger, counted), (front.http, ANSWER)):
                    found = client.post("/check_status", params=params).json()
                    assert (found["job_id"], found["content"]) == (body["job_id"], {"result": text})
                assert content(stranger.post("/generate", json=prompt())) == ANSWER
                forged = body | {"job_id": _own_id(stranger, body["job_id"])}
                assert content(front.http.post("/generate", json=forged)) == ANSWER
                found = stranger.post("/check_status", params=params).json()
                assert found["content"] == {"result": counted}, "nobody takes another's id"
            long = prompt() | {"job_id": "x" * 513}
            assert front.http.post("/generate", json=long).status_code == 422
            unknown = front.http.post("/generate?queue_name=nobodys", json=prompt())
            assert (unknown.status_code, "protollm.queues" in unknown.text) == (404, True)
            again = body | {"content": "Count to three."}
            assert content(front.http.post("/generate", json=again)) != ANSWER
