"""runnerd.relay.serving_runners: which runner serves an operation, and how long that holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.errors import ClientError, NotSupported
from runnerd.models.model import Model
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.routes import Route, find
from runnerd.relay.serving_runners import ServingRunner, ServingRunners
from runnerd.scheduler import RunnerKey

CHAT, EMBED = OPERATIONS["chat/completions"], OPERATIONS["embeddings"]


class Keys:
    """Names a key after backend, model and mode; counts how often one was made."""

    def __init__(self) -> None:
        self.revision = 0
        self.made = 0

    def backend(self, name: str | None) -> Any:
        return name or "llama.cpp"

    def key(self, backend: Any, model: str, mode: BackendMode) -> RunnerKey:
        self.made += 1
        return RunnerKey(backend, model, mode, "")

    def of_runner(self, id: str) -> RunnerKey:
        return RunnerKey("other", f"of {id}", BackendMode.EMBEDDING, "")

    def configuration(self, key: RunnerKey, model: str) -> ModelConfiguration:
        return ModelConfiguration()

    def spreads(self, key: RunnerKey) -> bool:
        return True


@pytest.fixture
def keys() -> Keys:
    return Keys()


def model(*capabilities: str) -> Model:
    return replace(UNSEEN, description=replace(UNSEEN.description, capabilities=capabilities))


def search(runners: ServingRunners, path: str, found: Model) -> ServingRunner:
    route = find(path)
    assert route is not None
    return runners.find(route, route.operation, "ai/m", found)


def test_what_was_found_is_kept_until_something_changes(keys: Keys) -> None:
    """The model's description, or a setting; what it is called changes nothing."""
    runners, chats = ServingRunners(cast(Any, keys)), model("completion")
    first = search(runners, "/v1/chat/completions", chats)
    assert search(runners, "/v1/chat/completions", replace(chats, tags=("ai/other",))) is first
    assert keys.made == 1
    keys.revision += 1
    second = search(runners, "/v1/chat/completions", chats)
    assert keys.made == 2
    assert second.token_time is first.token_time  # how quick the runner is stays known
    search(runners, "/v1/chat/completions", model("completion", "tools"))
    assert keys.made == 3


def test_many_names_take_no_more_memory_than_some(keys: Keys) -> None:
    """Whoever makes names up pushes out what was found, and nothing else happens."""
    runners, route = ServingRunners(cast(Any, keys)), Route(CHAT)
    chats = model("completion")
    for number in range(1000):
        runners.find(route, CHAT, f"ai/{number}", chats)
    assert len(runners._found) <= 256
    assert len(runners._token_times) <= 256


def test_only_runners_that_generate_have_rules_and_instances(keys: Keys) -> None:
    """An embedding has nothing to choose an instance by."""
    runners = ServingRunners(cast(Any, keys))
    embeds = search(runners, "/v1/embeddings", model("embedding"))
    assert (embeds.mode, embeds.spreads, embeds.rules) == (BackendMode.EMBEDDING, False, None)
    assert embeds.token_time is None
    generates = search(runners, "/v1/completions", model("completion"))
    assert generates.spreads
    assert generates.token_time is not None


def test_the_path_names_the_runner(keys: Keys) -> None:
    """Its backend and its mode hold, whatever the model is for; and nothing of it is kept."""
    runners = ServingRunners(cast(Any, keys))
    for _ in range(2):
        found = search(runners, "/runners/0123abcd/v1/embeddings", model("completion"))
        assert found.key == RunnerKey("other", "of 0123abcd", BackendMode.EMBEDDING, "")
        assert str(found.backend) == "other"
    assert runners._found == {}


def test_a_model_that_cannot_do_it_is_told_from_one_that_lacks_an_encoder(keys: Keys) -> None:
    """The first is the request's fault, the second has a remedy."""
    runners = ServingRunners(cast(Any, keys))
    with pytest.raises(ClientError, match="does not support rerank"):
        search(runners, "/v1/rerank", model("completion"))
    sounds = OPERATIONS["audio/transcriptions"]
    with pytest.raises(NotSupported, match="no audio encoder"):
        runners.find(Route(sounds), sounds, "ai/m", model("completion"))
    assert keys.made == 0
