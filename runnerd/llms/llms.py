"""The LLMs that there are: models that complete text, with the entries that are kept of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from runnerd.errors import ClientError, ModelNotFound
from runnerd.llms.entry import LLMRegistryEntry
from runnerd.llms.entry_rows import Kept, KeptEntry
from runnerd.llms.filling import entry_of, filled
from runnerd.models.catalog import Catalog, Model, shown

_NAMESPACE = UUID("5a1c3f0e-7d1b-4c55-9a0e-3c1f2b7d9e64")


@dataclass(frozen=True, slots=True)
class LLM:
    """One LLM.  `said` is its entry as it was said, None where nobody did; `entry` with what the
    model says of itself.  Of the model's names it has its own alone.
    """

    uuid: str
    model: Model
    entry: LLMRegistryEntry
    said: LLMRegistryEntry | None = None

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return self.model.description.parameter_count


def uuid_of(model: str) -> str:
    """The UUID of the LLM that the model with this id is by itself."""
    return str(uuid5(_NAMESPACE, model))


def llms_of(models: Catalog, kept: Kept) -> list[LLM]:
    """The LLMs among models, in the order of their lists.

    A model is one by itself, unless it came as others alone; those of which the tag was removed, or
    is not for who sees these models, are not there.
    """
    by_model: dict[str, list[KeptEntry]] = {}
    for each in kept.llms.values():
        by_model.setdefault(each.model, []).append(each)
    found = []
    for model in models.models():
        if "completion" in model.capabilities:
            found += _of_model(model, by_model.get(str(model.id), ()))
    return found


def _of_model(model: Model, kept: Iterable[KeptEntry]) -> list[LLM]:
    own = uuid_of(str(model.id))
    came = [each for each in kept if each.tag in model.tags]
    said = next((each.entry for each in kept if each.uuid == own), None)
    found = []
    if came:
        tags = {each.tag for each in came}
        others = tuple(tag for tag in model.tags if tag not in tags)
        if others:
            found.append(_by_itself(own, replace(model, tags=others), said))
    else:
        found.append(_by_itself(own, model, said))
    for each in came:
        known = replace(model, tags=(each.tag,))
        found.append(LLM(each.uuid, known, filled(each.entry, known), each.entry))
    return found


def _by_itself(uuid: str, model: Model, said: LLMRegistryEntry | None) -> LLM:
    return LLM(uuid, model, entry_of(model) if said is None else filled(said, model), said)


def find_named(llms: Iterable[LLM], text: str) -> LLM | None:
    """The LLM that an id names, if it is the only one, or a UUID; None where there is none."""
    every = list(llms)
    named = [llm for llm in every if llm.entry.id == text]
    if len(named) == 1:
        return named[0]
    return next((llm for llm in every if llm.uuid == text.lower()), None)


def find(llms: Iterable[LLM], text: str) -> LLM:
    """The same; raises errors.ClientError for what is neither, ModelNotFound."""
    every = list(llms)
    if (found := find_named(every, text)) is not None:
        return found
    uuid = parse_uuid(text)
    for llm in every:
        if llm.uuid == uuid:
            return llm
    raise ModelNotFound(f"LLM with UUID {uuid} not found", param="llm_id")


def parse_uuid(text: str) -> str:
    """A UUID in its usual spelling.  Raises errors.ClientError."""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise ClientError(f"{shown(text)} is neither an LLM's id nor a UUID") from error
