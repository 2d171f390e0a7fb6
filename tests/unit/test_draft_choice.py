"""Whether a draft model comes along: asked of everybody who wants the model."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runnerd.access import Principal, owner_principal, user_principal
from runnerd.errors import Forbidden, InvalidModelFile, PermissionMissing
from runnerd.models.model import Model
from runnerd.pulls.asker import STRANGER, Asker
from runnerd.pulls.draft_choice import DraftChoice, about
from runnerd.pulls.offer import Offer, OfferedFile, Remote

ANN, OWNER = Asker(user_principal("ann", "k")), Asker(owner_principal(0), is_owner=True)
FILE = OfferedFile("mtp.gguf", "", cast(Remote, None), size=2**20)
DRAFT = Offer((FILE,), name="mtp.gguf", tag="hf.co/o/r:mtp.gguf")


class Rules:
    """Allows some of those who ask."""

    def __init__(self, *allowed: Principal) -> None:
        self.allowed = allowed
        self.asked: list[tuple[Asker, str]] = []
        self.error: Exception | None = None

    def check(self, asker: Asker, tag: str) -> None:
        self.asked.append((asker, tag))
        if asker.principal not in self.allowed:
            raise Forbidden(f"not for {asker.principal.id}")

    async def attach(self, model: Model, draft: Model, *, new: bool) -> str:
        if self.error is not None:
            raise self.error
        return f"{model} with {draft}"


def test_one_who_may_is_enough() -> None:
    """Whoever else wants the same model, before or afterwards."""
    rules = Rules(OWNER.principal)
    choice = DraftChoice(rules)
    choice.wanted_by(ANN)
    assert choice.refusal(DRAFT) == "not for user ann"
    choice.wanted_by(OWNER)
    choice.wanted_by(STRANGER)
    assert choice.refusal(DRAFT) == ""
    assert {tag for _, tag in rules.asked} == {"hf.co/o/r:mtp.gguf"}
    rules.allowed = ()  # it counts what they may now
    assert choice.refusal(DRAFT) == "not for "


def test_nobody_wants_it() -> None:
    """Who may is told how to get it, and nobody is asked."""
    rules = Rules(OWNER.principal)
    for choice in (DraftChoice(rules), DraftChoice(None)):
        assert choice.refusal(DRAFT) == "`runnerd pull hf.co/o/r:mtp.gguf`"
    assert rules.asked == []
    nowhere = DraftChoice(None)
    nowhere.wanted_by(OWNER)
    assert nowhere.refusal(DRAFT) != ""


async def test_attaching() -> None:
    """It is the daemon's to do, and to refuse."""
    rules = Rules()
    choice = DraftChoice(rules)
    model, draft = cast(Any, "m"), cast(Any, "d")
    assert await choice.attach(model, draft, new=True) == "m with d"
    rules.error = InvalidModelFile("it has other tokens")
    with pytest.raises(InvalidModelFile):
        await choice.attach(model, draft, new=True)
    rules.error = PermissionMissing("no", permission="superuser")
    with pytest.raises(PermissionMissing):
        await choice.attach(model, draft, new=True)


def test_what_people_are_told() -> None:
    """Name, size, and what to do."""
    assert about(DRAFT, "") == "With mtp.gguf (draft model, 1.00 MiB); --no-draft leaves it out"
    assert about(DRAFT, "why").endswith("mtp.gguf (draft model, 1.00 MiB): why")
    assert about(DRAFT, "why").startswith("Not taken: ")
