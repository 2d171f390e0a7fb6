"""Which LLM fits best: Pantry's flexible choice, as its documentation has it.

A *filter* says what has to be true; all that it names counts, a capability that an LLM does not
state fails.  Of those that pass, a *preference* takes one: that of its UUID, or of its id; else
those that are local or not, as it says, and of its family, as long as any are; and of these the
most capable.  Of equals one that another user has brought comes last.  The original takes the last,
or the weakest; what it documents is what is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from runnerd.llms.entry import NOT_EVALUATED, LLMRegistryEntry

Capability = Literal["general", "assistant", "writing", "coding"]


class CapabilityFilter(msgspec.Struct, frozen=True):
    """At least so much of a capability."""

    capability: Capability
    value: int


class LLMFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM has to be; what is null does not matter."""

    llm_uuid: str | None = None
    llm_id: str | None = None
    family_id: str | None = None
    local: bool | None = None
    minimum_capabilities: list[CapabilityFilter] | None = None


class LLMPreference(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM should be; what is null does not matter."""

    llm_uuid: str | None = None
    llm_id: str | None = None
    local: bool | None = None
    family_id: str | None = None
    capability_type: Capability | None = None


class Choosable(Protocol):
    """What a choice looks at; `size` is the number of parameters."""

    @property
    def uuid(self) -> str: ...

    @property
    def entry(self) -> LLMRegistryEntry: ...

    @property
    def size(self) -> int: ...

    @property
    def is_anothers(self) -> bool: ...


T = TypeVar("T", bound=Choosable)


def passes(llm: Choosable, wanted: LLMFilter) -> bool:
    """Whether an LLM is all that a filter asks for."""
    entry = llm.entry
    exact = (
        (wanted.llm_uuid and wanted.llm_uuid.lower(), llm.uuid),
        (wanted.llm_id, entry.id),
        (wanted.family_id, entry.family_id),
        (wanted.local, entry.local),
    )
    if any(said is not None and said != found for said, found in exact):
        return False
    return all(
        each.capability in entry.capabilities and entry.capabilities[each.capability] >= each.value
        for each in wanted.minimum_capabilities or ()
    )


def choose(
    llms: Sequence[T], wanted: LLMFilter | None = None, preference: LLMPreference | None = None
) -> T | None:
    """The best of those that pass, None where none does.

    Of equally capable ones it is one that no other user has brought, of these the largest, and of
    these the first.
    """
    found = [llm for llm in llms if wanted is None or passes(llm, wanted)]
    said = preference or LLMPreference()
    steps: tuple[tuple[object, Callable[[T], object]], ...] = (
        (said.llm_uuid and said.llm_uuid.lower(), lambda llm: llm.uuid),
        (said.llm_id, lambda llm: llm.entry.id),
        (said.local, lambda llm: llm.entry.local),
        (said.family_id, lambda llm: llm.entry.family_id),
    )
    for value, of in steps:
        if value is not None:
            found = [llm for llm in found if of(llm) == value] or found
    kind = said.capability_type or "general"
    return max(
        found,
        key=lambda llm: (
            llm.entry.capabilities.get(kind, NOT_EVALUATED),
            not llm.is_anothers,
            llm.size,
        ),
        default=None,
    )
