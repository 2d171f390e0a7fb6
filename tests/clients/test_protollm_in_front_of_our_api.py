"""ProtoLLM's published SDK and its connector for LangChain, with the daemon as their API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clients.test_protollm_in_front_of_our_worker import python
from tests.integration.test_worker import ANSWER
from tests.support.daemon import DaemonProcess, running

pytestmark = [pytest.mark.engine, pytest.mark.clients]

_ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(__file__).with_name("programs") / "protollm"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with demo models and no broker."""
    env = {"RUNNERD_PROTOLLM": '{"queues": {"llm-api-queue": "demo-a"}}'}
    with running(tmp_path_factory.mktemp("protollm"), env=env) as found:
        for name in ("demo-a", "demo-b", "demo-embed"):
            found.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield found


def run(version: str, program: str, *arguments: str) -> dict[str, Any]:
    """What a program got."""
    process = subprocess.run(
        [python(version), str(_PROGRAMS / program), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_the_sdk(daemon: DaemonProcess) -> None:
    """Both calls, a queue of another model, a queue that there is not, a vector."""
    address = urlsplit(daemon.address)
    found = run("1.0", "sdk.py", str(address.hostname), str(address.port))
    assert found["generate"] == found["chat"] == ANSWER
    assert found["queue"] == "My name is Demo B."
    assert found["no queue"].startswith("raised:")
    expected = daemon.http.post(
        "/v1/embeddings", json={"model": "demo-embed", "input": "a cat"}
    ).json()["data"][0]["embedding"]
    assert found["embed"] == pytest.approx(expected, abs=1e-5)


def test_langchain(daemon: DaemonProcess) -> None:
    """The connector for self-hosted models; each call has an id of its own."""
    found = run("langchain", "langchain_rest.py", daemon.address)
    assert found == {"chat": ANSWER, "again": ANSWER}
