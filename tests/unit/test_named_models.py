"""runnerd.relay.named_models: what a request's model means, and to whom."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import Principal, user_principal
from runnerd.backends.configuration import BackendMode
from runnerd.errors import MisdirectedRequest, ModelNotFound, RunnerNotFound
from runnerd.models.digest import Digest
from runnerd.models.model import Model
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.named_models import NamedModels
from runnerd.relay.routes import Route, find
from runnerd.scheduler import RunnerKey

ANN, BOB = user_principal("ann", "k"), user_principal("bob", "k")


def made(name: str) -> Model:
    return replace(UNSEEN, id=Digest.of(name.encode()), tags=(name,))


MINE, THEIRS = made("ai/mine"), made("ai/theirs")


class Visible:
    """Ann is granted `ai/mine` alone, Bob everything."""

    def catalog(self) -> Any:
        return None

    def of(self, principal: Principal) -> Any:
        there = [MINE] if principal == ANN else [MINE, THEIRS]
        return SimpleNamespace(
            get=lambda name: _get(there, name), has=lambda id: any(str(m.id) == id for m in there)
        )

    def may_be(self, principal: Principal, reference: str) -> bool:
        return principal == BOB or reference == "ai/mine"

    def exists(self, id: str) -> bool:
        return id in {str(MINE.id), str(THEIRS.id)}


def _get(there: list[Model], name: str) -> Model:
    for model in there:
        if name in model.tags:
            return model
    raise ModelNotFound(f"no {name}")


class Keys:
    """`llama.cpp` has the store's models, `own` keeps its own; the runner `r` serves `ai/mine`."""

    def backend(self, name: str | None) -> Any:
        return SimpleNamespace(uses_external_model_management=name == "own", context=self._context)

    def _context(self, model: str, configuration: object) -> int:
        if model == "ai/gone":
            raise ModelNotFound("no such model here")
        return 4096

    def of_runner(self, id: str, visible: Any) -> RunnerKey:
        if visible("llama.cpp", str(MINE.id)):
            return RunnerKey("llama.cpp", "load", BackendMode.COMPLETION, "")
        raise RunnerNotFound(f"no runner {id!r}")

    def serves(self, key: RunnerKey, model: str) -> bool:
        return model == str(MINE.id)


@pytest.fixture
def named() -> NamedModels:
    return NamedModels(cast(Any, Visible()), cast(Any, Keys()))


def route(path: str) -> Route:
    found = find(path)
    assert found is not None
    return found


def test_what_was_not_granted_is_not_there(named: NamedModels) -> None:
    """Neither by its name, nor by an id that a plan remembers."""
    chat = route("/v1/chat/completions")
    assert named.model("ai/theirs", chat, BOB) is THEIRS
    with pytest.raises(ModelNotFound):
        named.model("ai/theirs", chat, ANN)
    named.check_granted(BOB, "llama.cpp", str(THEIRS.id))
    with pytest.raises(ModelNotFound, match="not here any more"):
        named.check_granted(ANN, "llama.cpp", str(THEIRS.id))
    named.check_granted(ANN, "llama.cpp", "sha256:gone")  # its runner is ended elsewhere
    assert named.may_be("ai/mine", ANN)
    assert not named.may_be("ai/new", ANN)


def test_a_backends_own_models_are_known_by_name(named: NamedModels) -> None:
    """The store is not asked; the backend says which there are, the policy for whom."""
    chat = route("/engines/own/v1/chat/completions")
    assert str(named.model("anything", chat, BOB).id) == "anything"
    assert str(named.model("ai/mine", chat, ANN).id) == "ai/mine"
    with pytest.raises(ModelNotFound):
        named.model("anything", chat, ANN)
    with pytest.raises(ModelNotFound, match="here"):
        named.model("ai/gone", chat, BOB)
    with pytest.raises(ModelNotFound):
        named.check_granted(ANN, "own", str(THEIRS.id))


@pytest.mark.parametrize("reference", ["ai/theirs", "ai/nowhere"])
def test_a_runner_serves_its_own_model(named: NamedModels, reference: str) -> None:
    """Another one, and one that nobody has, are the same to who asks that runner."""
    bound = route("/runners/r/v1/chat/completions")
    assert named.model("ai/mine", bound, ANN) is MINE
    for principal in (ANN, BOB):
        with pytest.raises(MisdirectedRequest, match="serves another model"):
            named.model(reference, bound, principal)
