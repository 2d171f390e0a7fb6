"""What somebody may submit as a job, as it stands when it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import Directory, Key, Rules, User, UserLimits, owner_principal, user_principal
from runnerd.config import Settings
from runnerd.errors import ModelNotFound, Unauthorized
from runnerd.jobs.job import MOST_PRIORITY
from runnerd.jobs.submission_rules import SubmissionRules
from runnerd.models import tiny
from runnerd.models.store import Store
from runnerd.relay.visible_models import VisibleModels

ANN, OWNER = user_principal("u", "k"), owner_principal(0)


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    """Two models, of which Ann is granted one."""
    store = Store(tmp_path / "models")
    store.open()
    for name in ("one", "two"):
        tiny.write_completion_model(tmp_path / f"{name}.gguf", name=name)
        await store.entrance.import_files([tmp_path / f"{name}.gguf"], tag=f"ai/{name}")
    return store


def people(*users: User) -> Directory:
    return Directory(users, (Key("k", "u", "D", 0.0),))


class Given:
    """The rules, with what they go by."""

    def __init__(self, store: Store, *, external: bool = False, **settings: Any) -> None:
        self.settings = Settings(**settings)
        user = User("u", "ann", models=("ai/one",), limits=UserLimits(priority=2))
        self.policy = Rules(lambda: 0.0, people(user))
        backend = SimpleNamespace(uses_external_model_management=external)
        self.rules = SubmissionRules(
            self.settings,
            self.policy,
            VisibleModels(store, self.policy),
            cast(Any, SimpleNamespace(backend=lambda name: backend)),
        )


async def test_a_model_has_one_spelling(store: Store) -> None:
    """However it was typed: jobs for it are one queue, and are counted together."""
    rules = Given(store).rules
    assert {rules.model_asked(OWNER, name) for name in ("one", "ai/one", "ai/one:latest")} == {
        "one"
    }


async def test_a_model_that_was_not_granted_is_not_there(store: Store) -> None:
    """For its user; the owner has it."""
    rules = Given(store).rules
    with pytest.raises(ModelNotFound):
        rules.model_asked(ANN, "ai/two")
    assert rules.model_asked(OWNER, "ai/two") == "two"


async def test_a_model_that_is_pulled_when_it_is_asked_for_may_be_missing(store: Store) -> None:
    """As long as the setting says so: it is looked at each time."""
    given = Given(store, auto_pull=True)
    assert given.rules.model_asked(OWNER, "ai/new") == "new"
    given.settings.auto_pull = False
    with pytest.raises(ModelNotFound):
        given.rules.model_asked(OWNER, "ai/new")


async def test_a_backend_with_models_of_its_own_knows_their_names(store: Store) -> None:
    """The store is not asked."""
    assert Given(store, external=True).rules.model_asked(ANN, "its/Own") == "its/Own"


async def test_a_head_start_is_the_users_present_one(store: Store) -> None:
    """An owner's is the most there is; a job lives on with another key, not with a user's end."""
    given = Given(store)
    assert given.rules.most_priority(OWNER) == MOST_PRIORITY
    assert given.rules.most_priority(ANN) == 2
    assert given.rules.most_priority(user_principal("u", "revoked")) == 2
    given.policy.adopt(people(User("u", "ann", limits=UserLimits(priority=0))))
    assert given.rules.most_priority(ANN) == 0
    given.policy.adopt(people())
    with pytest.raises(Unauthorized):
        given.rules.most_priority(ANN)
