"""Pantry's flexible choice: what passes, and that the best of it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from runnerd.llms.entry import CAPABILITIES, NOT_EVALUATED, ConnectorType, LLMRegistryEntry
from runnerd.llms.flexible_choice import (
    Capability,
    CapabilityFilter,
    LLMFilter,
    LLMPreference,
    choose,
    passes,
)


@dataclass(frozen=True)
class Some:
    """An LLM, as far as a choice looks at it."""

    uuid: str
    entry: LLMRegistryEntry
    size: int = 0
    is_anothers: bool = False


IDS = st.sampled_from(["a", "b", "c"])
FAMILIES = st.sampled_from(["llama", "qwen"])
UUIDS = st.integers(0, 7).map(lambda number: str(UUID(int=number)))
VALUES = st.integers(-1, 10)
KINDS = st.sampled_from(CAPABILITIES)


@st.composite
def some(draw: st.DrawFn) -> Some:
    entry = LLMRegistryEntry(
        id=draw(IDS),
        family_id=draw(FAMILIES),
        local=draw(st.booleans()),
        capabilities=draw(st.dictionaries(KINDS, VALUES)),
        connector_type=ConnectorType.LLMRS,
    )
    return Some(draw(UUIDS), entry, draw(st.integers(0, 3)), draw(st.booleans()))


LLMS = st.lists(some(), max_size=8, unique_by=lambda llm: llm.uuid)
FILTERS = st.builds(
    LLMFilter,
    llm_uuid=st.none() | UUIDS,
    llm_id=st.none() | IDS,
    family_id=st.none() | FAMILIES,
    local=st.none() | st.booleans(),
    minimum_capabilities=st.none()
    | st.lists(st.builds(CapabilityFilter, capability=KINDS, value=VALUES), max_size=3),
)
PREFERENCES = st.builds(
    LLMPreference,
    llm_uuid=st.none() | UUIDS,
    llm_id=st.none() | IDS,
    local=st.none() | st.booleans(),
    family_id=st.none() | FAMILIES,
    capability_type=st.none() | KINDS,
)


def test_the_capabilities_are_the_clients() -> None:
    """A filter and a status know the same ones."""
    assert get_args(Capability) == CAPABILITIES


@given(LLMS, st.none() | FILTERS, st.none() | PREFERENCES)
def test_one_that_passes(
    llms: list[Some], wanted: LLMFilter | None, preference: LLMPreference | None
) -> None:
    """There is a choice exactly where something passes, and it passes."""
    passing = [llm for llm in llms if wanted is None or passes(llm, wanted)]
    found = choose(llms, wanted, preference)
    assert (found is None) == (not passing)
    assert found is None or found in passing


@given(LLMS, FILTERS, PREFERENCES)
def test_the_best(llms: list[Some], wanted: LLMFilter, preference: LLMPreference) -> None:
    """Said the long way: each preference counts only among those that all before it leave."""
    found = choose(llms, wanted, preference)
    if found is None:
        return
    passing = [llm for llm in llms if passes(llm, wanted)]
    by_uuid = [llm for llm in passing if llm.uuid == preference.llm_uuid]
    if by_uuid:
        assert [found] == by_uuid
        return
    left = passing
    of: dict[str, Callable[[Some], object]] = {
        "llm_id": lambda llm: llm.entry.id,
        "local": lambda llm: llm.entry.local,
        "family_id": lambda llm: llm.entry.family_id,
    }
    for name, value in of.items():
        said = getattr(preference, name)
        alike = [llm for llm in left if value(llm) == said]
        if said is not None and alike:
            left = alike
    assert found in left
    kind = cast(str, preference.capability_type or "general")

    def capable(llm: Some) -> int:
        return llm.entry.capabilities.get(kind, NOT_EVALUATED)

    assert capable(found) == max(map(capable, left))
    equals = [llm for llm in left if capable(llm) == capable(found)]
    if own := [llm for llm in equals if not llm.is_anothers]:
        equals = own
    assert found in equals
    assert found.size == max(llm.size for llm in equals)


@given(LLMS, FILTERS, PREFERENCES)
def test_whatever_their_order(
    llms: list[Some], wanted: LLMFilter, preference: LLMPreference
) -> None:
    """How good the choice is does not depend on the order of the list: the original's does."""
    kind = cast(str, preference.capability_type or "general")
    values = {
        None
        if found is None
        else (found.entry.capabilities.get(kind, NOT_EVALUATED), found.is_anothers, found.size)
        for found in (choose(llms, wanted, preference), choose(llms[::-1], wanted, preference))
    }
    assert len(values) == 1


@given(some(), KINDS, VALUES)
def test_minimum_capabilities(llm: Some, kind: Capability, value: int) -> None:
    """As much is enough; one that is not stated fails whatever is asked."""
    wanted = LLMFilter(minimum_capabilities=[CapabilityFilter(kind, value)])
    stated = llm.entry.capabilities.get(kind)
    assert passes(llm, wanted) == (stated is not None and stated >= value)


def test_a_uuid_in_any_spelling() -> None:
    """UUIDs are compared in lower case."""
    uuid = "abcdefab-0000-0000-0000-000000000000"
    llm = Some(uuid, LLMRegistryEntry(id="a", connector_type=ConnectorType.LLMRS))
    assert passes(llm, LLMFilter(llm_uuid=uuid.upper()))
    assert choose([llm], None, LLMPreference(llm_uuid=uuid.upper())) is llm
