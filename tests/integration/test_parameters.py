"""What an owner says for every completion of a model, seen in real answers on every route."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import JSON, DaemonProcess, running

pytestmark = pytest.mark.engine

MESSAGES = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with a model that never ends by itself."""
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def configure(daemon: DaemonProcess, **fields: Any) -> None:
    everything = {
        "completion_defaults": None,
        "forced_parameters": None,
        "stripped_parameters": None,
        **fields,
    }
    response = daemon.http.post("/engines/_configure", json={"model": "tiny", **everything})
    assert response.status_code == 202, response.text


def generated(daemon: DaemonProcess, path: str, **body: Any) -> int:
    """Return how many tokens a response has, by the daemon's own record."""
    response = daemon.http.post(path, json={"model": "tiny", **body})
    assert response.status_code == 200, response.text
    record = daemon.http.get("/engines/requests").json()[-1]
    assert isinstance(record["completion_tokens"], int), record
    return record["completion_tokens"]


@pytest.mark.parametrize(
    ("path", "body", "own"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES}, {"max_completion_tokens": 9}),
        ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}, {"max_tokens": 9}),
        ("/v1/completions", {"prompt": "x"}, {"n_predict": 9}),
        ("/v1/responses", {"input": "x"}, {"max_output_tokens": 9}),
        ("/api/chat", {"messages": MESSAGES}, {"options": {"num_predict": 9}}),
        ("/api/generate", {"prompt": "x"}, {"options": {"num_predict": 9}}),
    ],
)
def test_defaults_and_forced_parameters_hold_on_every_route(
    daemon: DaemonProcess, path: str, body: dict[str, Any], own: dict[str, Any]
) -> None:
    """A default where the request is silent, the request where it speaks, force against it."""
    configure(daemon, completion_defaults={"max_tokens": 5})
    assert generated(daemon, path, **body) == 5
    assert generated(daemon, path, **body, **own) == 9
    configure(daemon, forced_parameters={"max_tokens": 3})
    assert generated(daemon, path, **body) == 3
    assert generated(daemon, path, **body, **own) == 3


def test_anthropics_messages(daemon: DaemonProcess) -> None:
    """They always say how long a response may be; force holds, and stops have their own name."""
    configure(daemon, forced_parameters={"max_tokens": 3})
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 9}
    response = daemon.http.post("/v1/messages", json=body)
    assert response.json()["usage"]["output_tokens"] == 3


def test_change_holds_without_a_reload(daemon: DaemonProcess) -> None:
    """The engine is the same one: only requests are changed."""
    configure(daemon)
    assert generated(daemon, "/v1/completions", prompt="x", max_tokens=4, seed=1) == 4
    [engine] = daemon.engines()
    configure(daemon, stripped_parameters=["max_tokens"], completion_defaults={"max_tokens": 6})
    assert generated(daemon, "/v1/completions", prompt="x", max_tokens=4) == 6
    assert daemon.engines() == [engine]


def test_what_is_configured_survives_and_is_shown(tmp_path: Path, gguf: Path) -> None:
    """Defaults are there after a restart, under the names that they were set by."""
    said = {"temperature": 0.5, "stop": ["END"], "chat_template_kwargs": {"thinking": False}}
    with running(tmp_path) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        configure(daemon, completion_defaults=said, stripped_parameters=["seed"])
        daemon.terminate()
        daemon.start()
        [shown] = daemon.http.get("/engines/_configure").json()
        assert shown["Config"] == {"completion_defaults": said, "stripped_parameters": ["seed"]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"completion_defaults": {"temperature": "hot"}}, "completion_defaults.temperature"),
        ({"completion_defaults": {"temperature": True}}, "completion_defaults.temperature"),
        ({"completion_defaults": {"top_p": 1.5}}, "completion_defaults.top_p"),
        ({"forced_parameters": {"stop": "x"}}, "forced_parameters.stop"),
        ({"forced_parameters": {"lora": []}}, "forced_parameters.lora"),
        ({"stripped_parameters": ["messages"]}, "messages"),
        ({"stripped_parameters": ["../x"]}, "stripped_parameters.0"),
        ({"stripped_parameters": "seed"}, "stripped_parameters"),
    ],
)
def test_wrong_ones_are_refused_by_name(
    daemon: DaemonProcess, fields: dict[str, Any], named: str
) -> None:
    """Nothing is stored, and the message says which."""
    document = {"model": "tiny", **fields}
    response = daemon.http.post("/engines/_configure", json=document, headers=JSON)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]
