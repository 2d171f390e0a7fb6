"""Numbers that are JSON and that nothing can hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

CHAT = '"messages":[{"role":"user","content":"a"}],"max_tokens":1'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model."""
    folder = tmp_path_factory.mktemp("numbers")
    tiny.write_completion_model(folder / "m.gguf")
    with running(folder / "d") as daemon:
        daemon.import_model(folder / "m.gguf", "m")
        yield daemon


@pytest.mark.parametrize("behind", ["", " " * 2**17], ids=["short", "long"])
@pytest.mark.parametrize("value", ["1e400", "[1e999]", '["a", {"b": -1e999}]'])
@pytest.mark.parametrize(
    ("path", "name", "others"),
    [
        ("/v1/chat/completions", "stop", CHAT),
        ("/v1/chat/completions", "tool_choice", CHAT),
        ("/v1/completions", "stop", '"prompt":"a","max_tokens":1'),
        ("/v1/messages", "stop_sequences", CHAT),
        ("/v1/responses", "tools", '"input":"a"'),
        ("/api/chat", "options", CHAT),
    ],
)
def test_they_are_the_clients_fault(
    daemon: DaemonProcess, path: str, name: str, others: str, value: str, behind: str
) -> None:
    """However long the request is, and wherever they stand."""
    body = f'{{"model":"m",{others},"{name}":{value}{behind}}}'
    response = daemon.http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
