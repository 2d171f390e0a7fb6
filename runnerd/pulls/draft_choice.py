"""Whether the model that drafts for another one comes along with it.

A pull is shared by all who ask for the same model, so it is asked of each of them: the draft comes
along if somebody wants it who may have a model of its name and may say how models are loaded.
"""

from __future__ import annotations

from typing import Protocol

from runnerd.errors import RunnerdError
from runnerd.models.model import Model
from runnerd.pulls.asker import Asker
from runnerd.pulls.offer import Offer
from runnerd.units import binary_size


class Drafting(Protocol):
    """What the daemon does with models that draft for others."""

    def check(self, asker: Asker, tag: str) -> None:
        """Raise errors.Forbidden, PermissionMissing or Unauthorized unless a pull of `asker` may
        bring a draft model with this tag along.
        """
        ...

    async def attach(self, model: Model, draft: Model, *, new: bool) -> str:
        """Let a model be loaded with a draft model from now on; says what came of it.

        `new`: the draft was not here before.  Raises errors.RunnerdError where it cannot be.
        """
        ...


class DraftChoice:
    """Of one pull: who wants a draft model with it, and what that comes to."""

    def __init__(self, drafting: Drafting | None) -> None:
        self._drafting = drafting
        self._askers: dict[Asker, None] = {}

    def wanted_by(self, asker: Asker) -> None:
        """Somebody who began or follows the pull wants one."""
        self._askers[asker] = None

    def refusal(self, draft: Offer) -> str:
        """Why a draft model that there is does not come along, "" where it does."""
        said = f"`runnerd pull {draft.tag}`"
        if self._drafting is None or draft.tag is None:
            return said
        for asker in self._askers:
            try:
                self._drafting.check(asker, draft.tag)
            except RunnerdError as error:
                said = error.message
            else:
                return ""
        return said

    async def attach(self, model: Model, draft: Model, *, new: bool) -> str:
        """Let a model be loaded with its draft model; says what came of it.

        Raises errors.RunnerdError where it cannot be.
        """
        assert self._drafting is not None
        return await self._drafting.attach(model, draft, new=new)


def about(draft: Offer, refusal: str) -> str:
    """What people are told of a draft model that there is."""
    size = binary_size(draft.size)
    if not refusal:
        return f"With {draft.name} (draft model, {size}); --no-draft leaves it out"
    return f"Not taken: {draft.name} (draft model, {size}): {refusal}"
