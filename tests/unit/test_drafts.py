"""Models are loaded with the ones that draft for them, where these fit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import (
    Directory,
    Key,
    Permission,
    Principal,
    Rules,
    User,
    by_any_key,
    owner_principal,
    user_principal,
)
from runnerd.backends.configuration import BackendMode
from runnerd.backends.model_files import ModelFacts, ModelFiles
from runnerd.configurations import ConfigurationKey, Configurations
from runnerd.errors import Forbidden, InvalidModelFile, Unauthorized
from runnerd.pulls.asker import Asker
from runnerd.supervisor.drafts import Drafts

KEY = ConfigurationKey("llama.cpp", "model", BackendMode.COMPLETION)
MODEL, DRAFT = (cast(Any, SimpleNamespace(id=name, name=f"ai/{name}")) for name in ("model", "d"))

TAG = "huggingface.co/org/repo:mtp.gguf"
USERS = (
    User("ann", "ann", models=("hf.co/org/*",), permissions=frozenset({Permission.DOWNLOAD_LLM})),
    User("bob", "bob", models=("ai/*",), permissions=frozenset({Permission.DOWNLOAD_LLM})),
    User("boss", "boss", models=("ai/*",), permissions=frozenset({Permission.SUPERUSER})),
)
DIRECTORY = Directory(USERS, tuple(Key(f"k{user.id}", user.id, user.id, 0.0) for user in USERS))
OWNER, ANN, BOB, BOSS, GONE = (
    owner_principal(0),
    *(user_principal(name, "") for name in ("ann", "bob", "boss", "gone")),
)


class Parts:
    """A supervisor's configurations, without runners."""

    def __init__(self, folder: Path, drafts: ModelFacts) -> None:
        self.configurations = Configurations(folder / "configurations.json")
        keys = SimpleNamespace(backend=lambda name: SimpleNamespace(name="llama.cpp"))
        facts = {"model": ModelFacts(vocabulary_size=32000), "d": drafts}
        self.drafts = Drafts(
            cast(Any, self),
            self.configurations,
            cast(Any, keys),
            lambda id: ModelFiles(Path(), 0, facts=facts[id]),
            lambda name: name.removeprefix("ai/"),
            Rules(lambda: 0.0, DIRECTORY),
        )

    async def configure(self, key: ConfigurationKey, changes: dict[str, object]) -> None:
        await self.configurations.set(key, changes)

    def draft_model(self) -> str | None:
        found, _ = self.configurations.effective(*KEY)
        return None if found.speculative is None else found.speculative.draft_model


@pytest.mark.parametrize(
    "facts",
    [
        ModelFacts(vocabulary_size=32064),
        ModelFacts(vocabulary_size=5, drafts_as="eagle3"),
        ModelFacts(drafts_as="mtp"),
    ],
)
async def test_one_that_fits(tmp_path: Path, facts: ModelFacts) -> None:
    """By its vocabulary, or because it was made for that; an owner's own choice stays."""
    parts = Parts(tmp_path, facts)
    assert "drafts for it" in await parts.drafts.attach(MODEL, DRAFT, new=False)
    assert parts.draft_model() == "ai/d"
    await parts.configure(KEY, {"speculative": {"draft_model": "ai/other"}})
    assert "with ai/other, as was configured" in await parts.drafts.attach(MODEL, DRAFT, new=True)
    assert parts.draft_model() == "ai/other"


async def test_one_that_came_along_goes_with_the_last(tmp_path: Path) -> None:
    """One that was here before is its owner's own; one that came along does so for all models."""
    parts = Parts(tmp_path, ModelFacts(drafts_as="mtp"))
    for new in (False, True):
        await parts.drafts.attach(MODEL, DRAFT, new=new)
        said = parts.drafts.of("model")
        assert said is not None
        assert said.goes_along is new
        assert parts.drafts.is_used("d")
        await parts.configure(KEY, {"speculative": None})
        assert not parts.drafts.is_used("d")
    await parts.configure(
        KEY._replace(model="first"), {"speculative": {"draft_model": "ai/d", "goes_along": True}}
    )
    await parts.drafts.attach(MODEL, DRAFT, new=False)
    assert (said := parts.drafts.of("model")) is not None
    assert said.goes_along


async def test_one_of_another_vocabulary(tmp_path: Path) -> None:
    """It could not draft for the model, which stays as it is."""
    parts = Parts(tmp_path, ModelFacts(vocabulary_size=32129))
    with pytest.raises(InvalidModelFile, match="it has 32129 tokens, and the model 32000"):
        await parts.drafts.attach(MODEL, DRAFT, new=True)
    assert parts.draft_model() is None


@pytest.mark.parametrize(
    ("asker", "error", "words"),
    [
        (Asker(OWNER, True), None, ""),
        (Asker(by_any_key(BOSS), True), None, ""),
        (Asker(by_any_key(ANN)), Forbidden, f"for owners to say; .*`runnerd pull {TAG}`"),
        (Asker(by_any_key(BOB)), Forbidden, "none of the models that were granted"),
        (Asker(by_any_key(GONE)), Unauthorized, "not valid"),
    ],
)
def test_who_may_have_one(
    tmp_path: Path, asker: Asker, error: type[Exception] | None, words: str
) -> None:
    """Whoever may configure models and has the draft among its grants."""
    drafts = Parts(tmp_path, ModelFacts()).drafts
    with contextlib.nullcontext() if error is None else pytest.raises(error, match=words):
        drafts.check(asker, TAG)


@pytest.mark.parametrize(
    ("user", "error"), [(ANN, None), (BOSS, None), (BOB, Forbidden), (GONE, Unauthorized)]
)
def test_what_an_owner_has_accepted(
    tmp_path: Path, user: Principal, error: type[Exception] | None
) -> None:
    """The owner may configure; whoever asked gets nothing that its grants do not have."""
    drafts = Parts(tmp_path, ModelFacts()).drafts
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        drafts.check(Asker(OWNER, True, accepted_for=by_any_key(user)), TAG)
