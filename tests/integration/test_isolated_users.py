"""With `isolate_users` an engine's speed tells nothing of what others have asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

LONG = "once upon a time there was a model " * 20
MESSAGES = [{"role": "system", "content": LONG}, {"role": "user", "content": "x"}]
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": LONG, "max_tokens": 1}),
    ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1}),
    ("/v1/responses", {"input": LONG, "max_output_tokens": 1}),
    ("/v1/messages", {"messages": MESSAGES[1:], "system": LONG, "max_tokens": 1}),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("isolated")) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def cached(daemon: DaemonProcess, path: str, body: dict[str, Any], **more: Any) -> int:
    """How much of a prompt an engine had evaluated before, when it is asked twice."""
    for _ in range(2):
        response = daemon.http.post(path, json={"model": "tiny", **body, **more})
        assert response.status_code == 200, response.text
    record = daemon.http.get("/engines/requests").json()[-1]
    return int(record["cached_tokens"] or 0)


def configure(daemon: DaemonProcess, **fields: Any) -> int:
    return daemon.http.post("/models/tiny/configure", json=fields).status_code


@pytest.mark.parametrize(("path", "body"), ROUTES, ids=[path for path, _ in ROUTES])
def test_nothing_is_reused(daemon: DaemonProcess, path: str, body: dict[str, Any]) -> None:
    """On no route, and a request cannot ask for it; without the setting the prompt is reused."""
    assert configure(daemon, isolate_users=None) == 202
    assert cached(daemon, path, body) > 50 or path == "/v1/messages"  # which tells no such number
    assert configure(daemon, isolate_users=True) == 202
    assert cached(daemon, path, body) == 0
    assert cached(daemon, path, body, cache_prompt=True) == 0


def test_what_it_excludes(daemon: DaemonProcess) -> None:
    """Nothing would use what is evaluated beforehand."""
    assert configure(daemon, isolate_users=True, preload_prefix="x") == 400
    assert configure(daemon, isolate_users="yes") == 400
