"""runnerd.cli.near_models: a model that there is not is told with those that are spelt alike."""

from __future__ import annotations

from typing import Any

import pytest

from runnerd.cli import near_models
from runnerd.cli.client import DaemonError
from runnerd.errors import ClientError, RunnerdError


def error(message: str, status: int) -> DaemonError:
    found = DaemonError(message)
    found.answer_status = status
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that the daemon was asked; it has two models."""
    paths: list[str] = []

    class Client:
        def __init__(self, host: str | None) -> None: ...

        def json(self, method: str, path: str) -> Any:
            paths.append(path)
            return [{"tags": ["ai/smollm2:latest"]}, {"tags": ["ai/qwen3:latest", "mine/x:1"]}]

    monkeypatch.setattr(near_models, "Client", Client)
    return paths


def test_a_slip_of_the_pen(asked: list[str]) -> None:
    """The name as people type it; what is nothing like it is not told."""
    said = near_models.explained(error("model 'smolm2' not found", 404), None)
    assert said.startswith("model 'smolm2' not found")
    assert "smollm2" in said.removeprefix("model 'smolm2' not found")
    assert "qwen3" not in said
    far = "model 'something-else' not found"
    assert near_models.explained(error(far, 404), None) == far


@pytest.mark.parametrize(
    "found",
    [
        error("model 'smolm2' not found", 502),
        error("no runner 'x'", 404),
        ClientError("model 'smolm2' not found"),
    ],
)
def test_other_errors_ask_nothing(asked: list[str], found: RunnerdError) -> None:
    """They are told as they are."""
    assert near_models.explained(found, None) == found.message
    assert asked == []


def test_a_daemon_that_does_not_say_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error counts, not the help."""

    class Client:
        def __init__(self, host: str | None) -> None: ...

        def json(self, method: str, path: str) -> Any:
            raise error("you may not", 403)

    monkeypatch.setattr(near_models, "Client", Client)
    missing = error("model 'smolm2' not found", 404)
    assert near_models.explained(missing, None) == missing.message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("this takes the permission download_llm", "this takes the permission download_llm"),
        ("no network", "model 'smolm2' is not here; did you mean smollm2? Looked for elsewhere:"),
    ],
)
def test_who_may_not_look_elsewhere(asked: list[str], message: str, said: str) -> None:
    """Nothing was looked for then, and the model may well be here."""
    client: Any = vars(near_models)["Client"](None)
    with (
        pytest.raises(RunnerdError) as caught,
        near_models.sought_elsewhere(client, ["smolm2"]),
    ):
        raise error(message, 403)
    assert caught.value.message.startswith(said)


def test_every_spelling_of_a_hubs_model_is_compared_as_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pulled without a label, asked for with one, in the hub's own words."""
    name = "huggingface.co/org/tiny-gguf"

    class Client:
        def __init__(self, host: str | None) -> None: ...

        def json(self, method: str, path: str) -> Any:
            return [{"tags": [f"{name}:latest"]}]

    monkeypatch.setattr(near_models, "Client", Client)
    for asked in ("hf.co/org/Tiny-GGUF:Q4_K_M", "https://huggingface.co/ORG/Tiny-GUFF"):
        said = near_models.explained(error(f"model '{asked}' not found", 404), None)
        assert said.endswith(f"; did you mean {name}?")
