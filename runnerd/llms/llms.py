"""The LLMs that there are: models that complete text, with the entries that are kept of them.

What an owner says of a model counts for everybody.  What a user says of one, in an entry that it
has brought along with a download, counts for that user alone: others find the LLM by its id, its
UUID and its address, and for them it is otherwise what the model and its source say.  So nobody can
make its model the best choice of others, or put words into their sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from runnerd.errors import ClientError, ModelNotFound
from runnerd.llms.entry import LLMRegistryEntry
from runnerd.llms.entry_rows import OWNERS, Kept, KeptEntry
from runnerd.llms.filling import entry_of, filled, known_by
from runnerd.models.catalog import Catalog, shown
from runnerd.models.model import Model
from runnerd.pulls.published import NOTHING, Published

_NAMESPACE = UUID("5a1c3f0e-7d1b-4c55-9a0e-3c1f2b7d9e64")


@dataclass(frozen=True, slots=True)
class LLM:
    """One LLM.  `said` is its entry as it was said, None where nobody did for whom it counts;
    `entry` with what the model and its source say.  Of the model's names it has its own alone.
    `is_anothers` where what was said of it does not count.
    """

    uuid: str
    model: Model
    entry: LLMRegistryEntry
    said: LLMRegistryEntry | None = None
    is_anothers: bool = False

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return self.model.description.parameter_count


def uuid_of(model: str) -> str:
    """The UUID of the LLM that the model with this id is by itself."""
    return str(uuid5(_NAMESPACE, model))


def llms_of(models: Catalog, kept: Kept, principal: str | None = None) -> list[LLM]:
    """The LLMs among models, in the order of their lists; without a `principal` all that was said
    counts.

    A model is one by itself, unless it came as others alone; those of which the tag was removed, or
    is not for who sees these models, are not there.
    """
    by_model: dict[str, list[KeptEntry]] = {}
    for each in kept.llms.values():
        by_model.setdefault(each.model, []).append(each)
    found = []
    for model in models.models():
        if "completion" in model.capabilities:
            id = str(model.id)
            of_it = _Described(model, kept.published.get(id, {}), principal)
            found += of_it.llms(by_model.get(id, ()))
    return found


@dataclass(frozen=True, slots=True)
class _Described:
    """A model, with what sources say of it by tag, as it is for a principal."""

    model: Model
    published: Mapping[str, Published]
    principal: str | None

    def llms(self, kept: Iterable[KeptEntry]) -> list[LLM]:
        model, own = self.model, uuid_of(str(self.model.id))
        came = [each for each in kept if each.tag in model.tags]
        said = next((each.entry for each in kept if each.uuid == own), None)
        tags = {each.tag for each in came}
        others = tuple(tag for tag in model.tags if tag not in tags)
        found = []
        if others or not came:
            alone = replace(model, tags=others) if came else model
            found.append(self._llm(own, alone, said))
        for each in came:
            known = replace(model, tags=(each.tag,))
            if each.principal in (OWNERS, self.principal) or self.principal is None:
                found.append(self._llm(each.uuid, known, each.entry))
            else:
                entry = known_by(each.entry, self._entry(known))
                found.append(LLM(each.uuid, known, entry, is_anothers=True))
        return found

    def _llm(self, uuid: str, model: Model, said: LLMRegistryEntry | None) -> LLM:
        entry = self._entry(model)
        return LLM(uuid, model, entry if said is None else filled(said, entry), said)

    def _entry(self, model: Model) -> LLMRegistryEntry:
        said = (self.published[tag] for tag in model.tags or ("",) if tag in self.published)
        return entry_of(model, next(said, NOTHING))


def find_named(llms: Iterable[LLM], text: str) -> LLM | None:
    """The LLM with this id or UUID, None where there is none.

    Of several with one id it is the one that is not another user's; where these are several, too,
    the id names none of them.
    """
    every = list(llms)
    named = [llm for llm in every if llm.entry.id == text]
    for among in (named, [llm for llm in named if not llm.is_anothers]):
        if len(among) == 1:
            return among[0]
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
