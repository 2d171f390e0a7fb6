"""The models that there are, in memory, as one value that is replaced and never changed.

Every request looks a model up by what its client typed, so a catalog remembers the responses; a
change in the store makes a new catalog and thereby forgets them.  Readers on the event loop and
writers in threads need no lock between them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from weakref import ref

from runnerd.errors import InvalidModelFile, InvalidReference, ModelNotFound
from runnerd.models.borrowed import Borrowed
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import Manifest
from runnerd.models.model import LOAD, Model
from runnerd.models.pages import model_of_page
from runnerd.models.reference import Reference, one_spelling

_REMEMBERED = 4096  # lookups; names come from clients, so there is a limit
_SHORT_ID = 12
_LONGEST_SHOWN = 120
_LONGEST_NAME = 1024
_VIEWS = 256

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the index.  `model` is None when its files are damaged, and `problem` says how."""

    id: Digest
    tags: tuple[str, ...]
    created: int
    model: Model | None = None
    problem: str = ""

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        description: Description,
        tags: tuple[str, ...],
        created: int,
        borrowed: Borrowed,
    ) -> Entry:
        """Return the line of a model whose files are in order."""
        size = sum(layer.size for layer in manifest.layers if layer.digest in borrowed)
        model = Model(manifest.id, tags, created, description, manifest, size)
        return cls(manifest.id, tags, created, model)

    def with_tags(self, tags: tuple[str, ...]) -> Entry:
        """Return the same line with other tags."""
        model = replace(self.model, tags=tags) if self.model else None
        return replace(self, tags=tags, model=model)


@dataclass(frozen=True, slots=True)
class Match:
    """What a text names: a model, and the tag that it was found by, if it was one."""

    id: Digest
    tag: str | None


class Catalog:
    """All models by id and by tag.  Immutable; `get` remembers what it found."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self._by_tag = {tag: entry.id for entry in self.entries.values() for tag in entry.tags}
        self._by_any_case = {tag.lower(): tag for tag in reversed(self._by_tag)}
        self._by_load: dict[str, list[Model]] = {}
        for entry in self.entries.values():
            if entry.model is not None:
                self._by_load.setdefault(entry.model.load, []).append(entry.model)
        this = ref(self)  # no circle: an old catalog goes as soon as nobody reads it

        @lru_cache(_REMEMBERED)
        def usable(text: str) -> Model:
            catalog = this()
            assert catalog is not None
            return catalog._find_usable(text)

        self._usable = usable
        self._views: dict[Hashable, Catalog] = {}

    def view(self, key: Hashable, visible: Callable[[Names], Names]) -> Catalog:
        """The catalog as it is for somebody who may know of some names only: of a model with none
        of them there is nothing in it, and of the others nothing but these names.

        `visible` says which of a model's names those are; the same `key` means the same.
        """
        found = self._views.get(key)
        if found is None:
            entries = []
            for entry in self.entries.values():
                names = visible(entry.tags or (entry.id.short,))
                if names:
                    entries.append(entry.with_tags(names if entry.tags else ()))
            found = Catalog(entries)
            if len(self._views) >= _VIEWS:
                self._views.clear()
            self._views[key] = found
        return found

    def has(self, id: str) -> bool:
        """Whether there is a model with this id, damaged or not."""
        try:
            return Digest.parse(id) in self.entries
        except InvalidReference:
            return False

    def models(self) -> list[Model]:
        """Return the usable models, newest first."""
        found = [entry.model for entry in self.entries.values() if entry.model is not None]
        return sorted(found, key=lambda model: (-model.created, str(model.id)))

    def loaded_as(self, load: str) -> Sequence[Model]:
        """Return the models whose engines are started with the same."""
        return self._by_load.get(load, ())

    def get(self, text: str) -> Model:
        """Return the model that `text` names.

        Raises errors.ModelNotFound, and InvalidModelFile when its files are damaged.
        """
        return self._usable(text)

    def _find_usable(self, text: str) -> Model:
        entry = self.entries[self.find(text).id]
        if entry.model is None:
            raise InvalidModelFile(
                f"model {shown(text)} is damaged: {entry.problem};"
                " import it again, or `runnerd rm` it"
            )
        return entry.model

    def find(self, text: str) -> Match:
        """What `text` names: an id, a tag in any case, the last part of a tag's name, or the
        address of a page that shows the model.

        Raises errors.ModelNotFound, which names the candidates where there are several.
        """
        match = None
        if text.startswith(LOAD):
            raise ModelNotFound("the model is not here any more", param="model")
        if len(text) <= _LONGEST_NAME:  # whatever a client sends, the search is short
            match = self._by_id(text) or self._by_reference(text)
            if match is None and (shows := model_of_page(text)) != text:
                match = self._by_reference(shows)
        if match is None:
            raise ModelNotFound(
                f"model {shown(text)} not found; `runnerd ls` lists what is here", param="model"
            )
        return match

    def spelling(self, text: str) -> str:
        """The one spelling for what `text` calls a model: as its name is shown, also where it is
        not here.  An id stays one.
        """
        try:
            tag = self.find(text).tag
        except ModelNotFound:
            return one_spelling(text)
        return text if tag is None else one_spelling(tag)

    def _by_id(self, text: str) -> Match | None:
        digits = text.removeprefix("sha256:").lower()
        if len(digits) == _SHORT_ID:
            found = [id for id in self.entries if id.hex.startswith(digits)]
            return Match(found[0], None) if len(found) == 1 else None
        try:
            id = Digest(digits)
        except InvalidReference:
            return None
        return Match(id, None) if id in self.entries else None

    def _by_reference(self, text: str) -> Match | None:
        try:
            reference = Reference.parse(text)
        except InvalidReference:
            return None
        if reference.digest is not None:
            return Match(reference.digest, None) if reference.digest in self.entries else None
        tag = str(reference)
        if tag not in self._by_tag:
            tag = self._by_any_case.get(tag.lower(), "")
        if tag:
            return Match(self._by_tag[tag], tag)
        return None if "/" in text else self._by_last_part(text, reference)

    def _by_last_part(self, text: str, wanted: Reference) -> Match | None:
        found = []
        for tag, id in self._by_tag.items():
            reference = Reference.parse(tag)
            same_tag = ":" not in text or reference.tag.lower() == wanted.tag.lower()
            if reference.short_name == wanted.short_name and same_tag:
                found.append(Match(id, tag))
        if len({match.id for match in found}) > 1:
            names = ", ".join(sorted(str(match.tag) for match in found)[:5])
            raise ModelNotFound(
                f"model {shown(text)} could be any of {names}; say which", param="model"
            )
        return found[0] if found else None


def with_tag(entries: Iterable[Entry], target: Entry, tag: str) -> list[Entry]:
    """Return `entries` with `tag` at `target` and nowhere else, in whichever case it was there."""
    moved = []
    for entry in entries:
        tags = tuple(other for other in entry.tags if other.lower() != tag.lower())
        if entry.id == target.id:
            tags = entry.tags if tag in entry.tags else (*tags, tag)
        moved.append(entry.with_tags(tags))
    return moved


def shown(text: str) -> str:
    """A client's text in quotes, escaped and shortened, for messages and logs."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
