"""What owners configured per model, kept across restarts.

It has two parts: what the engine is started with (`BackendConfiguration`, whose fingerprint
decides which requests can share a runner) and how its runners are kept, which changes without a
reload.

A *configuration* belongs to (backend, model id, mode).  A mode that has none of its own uses that
of completion, so that a context size set once holds for embeddings too.  Setting one merges into
what is there: an absent field leaves the old value, null removes it.  The file is rewritten whole,
to a temporary name, fsynced and renamed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from runnerd import durable
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.parameters import CompletionParameters
from runnerd.config_errors import wrong_fields
from runnerd.durable import storage_error
from runnerd.errors import (
    InsufficientStorage,
    InvalidConfiguration,
    StorageFailure,
    Unconfirmed,
    Undetermined,
)
from runnerd.regular import Unusable, read, set_aside
from runnerd.tasks import uninterrupted
from runnerd.units import bounded_seconds, format_duration, parse_duration

log = logging.getLogger(__name__)

_WHAT = "what is configured per model"
_MOST_BYTES = 64 * 2**20


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bounded_seconds(value)
    return value


Duration = Annotated[
    float,
    Field(strict=True, ge=-1, allow_inf_nan=False),
    BeforeValidator(_seconds),
    PlainSerializer(format_duration),
]
"""Seconds inside; in JSON Go's duration strings, `0` at once and `-1` for ever."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Groups = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(max_length=16),
    BeforeValidator(_several),
]

_ESSENTIAL = frozenset({
    "model", "messages", "prompt", "input", "stream", "stream_options", "input_prefix",
    "input_suffix",
})  # fmt: skip


def _not_essential(name: str) -> str:
    if name in _ESSENTIAL:
        raise ValueError(f"a request cannot do without {name!r}")
    return name


Strippable = Annotated[
    str, Field(pattern="^[a-z][a-z0-9_.]{0,63}$"), AfterValidator(_not_essential)
]
"""A parameter that requests can do without."""


class PreloadMessage(BaseModel):
    """One chat message."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=64 * 2**10)]


class ModelConfiguration(BackendConfiguration):
    """Everything that an owner can set for one model: the engine's part and how it is kept.

    `keep_alive` is how long an unused runner stays, None for the daemon's `idle_timeout`.
    `min_instances` are started with the daemon, kept, and brought back; up to `max_instances` are
    started under load.  A `pinned` model is never evicted and never expires.  Models that have an
    `exclusive_group` in common are never loaded together: one name, or several.  `preload` are chat
    messages, and `preload_prefix` is text, that each instance evaluates before it serves anybody.
    `completion_defaults` are added to completions that do not say them, `forced_parameters` replace
    what they say, `stripped_parameters` are taken out.
    """

    keep_alive: Duration | None = None
    min_instances: Annotated[int, Field(strict=True, ge=0, le=16)] = 0
    max_instances: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    pinned: Annotated[bool, Field(strict=True)] = False
    exclusive_group: Groups = ()
    preload: Annotated[tuple[PreloadMessage, ...], Field(max_length=64)] = ()
    preload_prefix: Annotated[str, Field(max_length=256 * 2**10)] = ""
    completion_defaults: CompletionParameters | None = None
    forced_parameters: CompletionParameters | None = None
    stripped_parameters: Annotated[tuple[Strippable, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _members_agree(self) -> Self:
        if self.isolate_users and (self.preload or self.preload_prefix):
            raise ValueError("with isolate_users nothing that is preloaded would be used")
        if self.min_instances > self.max_instances:
            raise ValueError("min_instances is more than max_instances")
        return self

    def fingerprint(self) -> str:
        """What two configurations share exactly if one runner can serve both."""
        document = self.model_dump(
            by_alias=True,
            exclude_defaults=True,
            mode="json",
            include=set(BackendConfiguration.model_fields),
        )
        text = json.dumps(document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_DEFAULT = ModelConfiguration.model_validate({})


class ConfigurationKey(NamedTuple):
    backend: str
    model: str
    mode: BackendMode


_Documents = dict[ConfigurationKey, dict[str, Any]]


NAMED = "name="
"""What stands before a name where something is configured for a model that was not here."""


class Configurations:
    """Owns the file.  Reading is from memory and quick: it happens on every request.

    What is configured for a name whose model is not here counts for the model that has this name
    once there is one, until something is configured for that itself; `id_of` knows which it is.
    """

    def __init__(self, file: Path, id_of: Callable[[str], str | None] = lambda name: None) -> None:
        self._file = file
        self._id_of = id_of
        self._documents: _Documents = {}
        self._named: tuple[ConfigurationKey, ...] = ()
        self._parsed: dict[ConfigurationKey, tuple[ModelConfiguration, str]] = {}
        self._fault = ""  # why the file may not be written
        self._known = True  # what is in it
        self._writing = asyncio.Lock()  # one change after the other; the disk takes its time
        self.revision = 0  # grows with every change

    def open(self) -> None:
        """Read the file; what is no such file is moved aside and said so, never silently lost.

        One that cannot be read at the moment stays, and nothing is changed then.
        """
        try:
            self._take(_read(self._file))
        except Unusable as error:
            self._set_aside(error)
        except OSError as error:
            self._keep_away(f"they cannot be read ({error.strerror})")

    def _set_aside(self, problem: Unusable) -> None:
        try:
            aside = set_aside(self._file)
        except OSError as error:
            self._keep_away(f"{problem.strerror}, and cannot be moved aside ({error.strerror})")
        else:
            log.error("the configurations of models are lost: %s; see %s", problem.strerror, aside)

    def _keep_away(self, reason: str) -> None:
        """Leave the file alone: writing it would lose what may be in it."""
        self._fault = f"the configurations in {self._file.name} stay out of force: {reason}"
        log.error("%s", self._fault)

    def effective(
        self, backend: str, model: str, mode: BackendMode
    ) -> tuple[ModelConfiguration, str]:
        """Return the configuration in force and its fingerprint."""
        key = ConfigurationKey(backend, model, mode)
        found = self._parsed.get(key)
        if found is None:
            document = self._stored(key)
            if document is None:
                fallback = ConfigurationKey(backend, model, BackendMode.COMPLETION)
                document = self._stored(fallback)
            configuration = _DEFAULT if document is None else _validate(document)
            found = configuration, configuration.fingerprint()
            if not self._named:  # a model may get such a name at any time
                self._parsed[key] = found
        return found

    def _stored(self, key: ConfigurationKey) -> dict[str, Any] | None:
        """What is stored for a model, or for a name of it."""
        found = self._documents.get(key)
        if found is None and self._named:
            named = next((named for named in self._named if self._resolved(named) == key), None)
            found = None if named is None else self._documents[named]
        return found

    def _resolved(self, named: ConfigurationKey) -> ConfigurationKey | None:
        """The key of the model that has a name now, None where none has."""
        id = self._id_of(named.model.removeprefix(NAMED))
        return None if id is None else named._replace(model=id)

    def merged(self, key: ConfigurationKey, changes: dict[str, Any]) -> ModelConfiguration:
        """What `changes` would make of the stored configuration.

        Raises errors.InvalidConfiguration.
        """
        return _validate(self._merge(key, changes))

    async def set(self, key: ConfigurationKey, changes: dict[str, Any]) -> None:
        """Merge `changes` into the stored configuration and write it down.

        It is carried out to its end even if it is cancelled.  Raises errors.InvalidConfiguration,
        InsufficientStorage, StorageFailure; nothing has changed then, unless it is Unconfirmed.
        """
        async with self._writing:
            await self._settle()
            document = self._merge(key, changes)
            _validate(document)
            kept = {
                other: stored
                for other, stored in self._documents.items()
                if other not in self._named or self._resolved(other) != key
            }
            await self._keep({**kept, key: document})

    async def forget(self, model: str) -> None:
        """Drop everything that was configured for a model that has been deleted.

        Where that cannot be written down it stays: the model is gone all the same.
        """
        async with self._writing:
            kept = {key: entry for key, entry in self._documents.items() if key.model != model}
            try:
                if len(kept) < len(self._documents):
                    await self._settle()
                    await self._keep(kept)
            except (InsufficientStorage, StorageFailure) as error:
                log.warning("what was configured for %s stays: %s", model, error.message)

    def list(self) -> Iterator[tuple[ConfigurationKey, ModelConfiguration]]:
        """Yield every stored configuration of a model that is here, in a stable order."""
        for key in sorted(self._documents):
            whose = self._resolved(key) if key in self._named else key
            if whose is not None and (whose == key or whose not in self._documents):
                yield whose, _validate(self._documents[key])

    def _merge(self, key: ConfigurationKey, changes: dict[str, Any]) -> dict[str, Any]:
        document = dict(self._stored(key) or {})
        for name, value in changes.items():
            if value is None:
                document.pop(name, None)
            else:
                document[name] = value
        return document

    async def _keep(self, documents: _Documents) -> None:
        """Let these be the configurations, on the disk first."""
        await uninterrupted(self._replace(documents), name="write configurations")

    async def _replace(self, documents: _Documents) -> None:
        entries = [
            {
                "backend": key.backend,
                "model": key.model,
                "mode": key.mode.value,
                "configuration": documents[key],
            }
            for key in sorted(documents)
        ]
        content = json.dumps(entries, indent=1).encode()
        try:
            await asyncio.to_thread(durable.replace, self._file, content, what=_WHAT)
        except Unconfirmed:
            self._take(documents)
            raise
        except Undetermined:
            self._known = False
            raise
        self._take(documents)

    async def _settle(self) -> None:
        """See that memory and file agree before something is changed.

        Raises errors.StorageFailure.
        """
        if self._fault:
            raise StorageFailure(f"{self._fault}; put that right and restart the daemon")
        if not self._known:
            try:
                self._take(await asyncio.to_thread(_read, self._file))
            except OSError as error:
                raise storage_error(error, _WHAT) from error
            self._known = True

    def _take(self, documents: _Documents) -> None:
        self._documents = documents
        self._named = tuple(key for key in documents if key.model.startswith(NAMED))
        self._parsed.clear()
        self.revision += 1


def _read(file: Path) -> _Documents:
    """What is in the file.  Raises OSError, Unusable for what is no such file."""
    try:
        content = read(file, most=_MOST_BYTES)
    except FileNotFoundError:
        return {}
    documents: _Documents = {}
    try:
        for entry in json.loads(content):
            mode = BackendMode(entry["mode"])
            key = ConfigurationKey(str(entry["backend"]), str(entry["model"]), mode)
            _validate(entry["configuration"])
            documents[key] = entry["configuration"]
    except (ValueError, KeyError, TypeError, RecursionError, InvalidConfiguration) as error:
        raise Unusable(file, f"their content is damaged ({str(error)[:200]})") from error
    return documents


def _validate(document: dict[str, Any]) -> ModelConfiguration:
    try:
        return ModelConfiguration.model_validate(document)
    except ValidationError as error:
        problem = wrong_fields(error)[0]
        raise InvalidConfiguration(str(problem), param=problem.where) from error
