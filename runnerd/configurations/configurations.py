"""What owners configured per model, kept across restarts.

A *configuration* belongs to (backend, model id, mode).  A mode that has none of its own uses that
of completion, so that a context size set once holds for embeddings too.  Setting one merges into
what is there: an absent field leaves the old value, null removes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runnerd import threads
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import configuration_file
from runnerd.configurations.configuration_file import Documents
from runnerd.configurations.model_configuration import (
    NAMED,
    ConfigurationKey,
    ModelConfiguration,
    validated,
)
from runnerd.durable import storage_error
from runnerd.errors import (
    InsufficientStorage,
    RunnerdError,
    StorageFailure,
    Unconfirmed,
    Undetermined,
)
from runnerd.regular import Unusable, set_aside
from runnerd.tasks import uninterrupted

log = logging.getLogger(__name__)

_DEFAULT = ModelConfiguration.model_validate({})


class Configurations:
    """Owns the file.  Reading is from memory and quick: it happens on every request.

    What is configured for a name whose model is not here counts for the model that has this name
    once there is one, until something is configured for that itself; `id_of` knows which it is.
    """

    def __init__(self, file: Path, id_of: Callable[[str], str | None] = lambda name: None) -> None:
        self._file = file
        self._id_of = id_of
        self._documents: Documents = {}
        self._named: tuple[ConfigurationKey, ...] = ()
        self._parsed: dict[ConfigurationKey, tuple[ModelConfiguration, str]] = {}
        self._fault = ""  # why the file may not be written
        self._known = True  # what is in it
        self._writing = asyncio.Lock()  # one change after the other; the disk takes its time
        self.revision = 0  # grows with every change

    def open(self) -> None:
        """Read the file; what cannot be used of it is moved aside and said so, never silently lost.

        One that cannot be read at the moment stays, and nothing is changed then.
        """
        try:
            content = configuration_file.load(self._file)
        except Unusable as error:
            self._set_aside(error)
        except OSError as error:
            self._keep_away(f"they cannot be read ({error.strerror})")
        else:
            self._take(content.documents)
            if content.damaged:
                self._part(content)

    def _part(self, content: configuration_file.Content) -> None:
        """Move aside the entries that are not in force."""
        try:
            aside = configuration_file.part(self._file, content)
        except (OSError, InsufficientStorage, StorageFailure) as error:
            said = error.message if isinstance(error, RunnerdError) else error.strerror
            self._keep_away(
                f"{content.problem}; it cannot be moved aside ({said})", whose="some of"
            )
        else:
            log.error(
                "%d of the configurations of models cannot be used (%s); see %s",
                len(content.damaged), content.problem, aside,
            )  # fmt: skip

    def _set_aside(self, problem: Unusable) -> None:
        try:
            aside = set_aside(self._file)
        except OSError as error:
            self._keep_away(f"{problem.strerror}, and cannot be moved aside ({error.strerror})")
        else:
            log.error("the configurations of models are lost: %s; see %s", problem.strerror, aside)

    def _keep_away(self, reason: str, whose: str = "") -> None:
        """Leave the file alone: writing it would lose what may be in it."""
        self._fault = (
            f"{whose} the configurations in {self._file.name} stay out of force: {reason}".lstrip()
        )
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
            configuration = _DEFAULT if document is None else validated(document)
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
        return validated(self._merge(key, changes))

    async def set(self, key: ConfigurationKey, changes: dict[str, Any]) -> None:
        """Merge `changes` into the stored configuration and write it down.

        It is carried out to its end even if it is cancelled.  Raises errors.InvalidConfiguration,
        InsufficientStorage, StorageFailure; nothing has changed then, unless it is Unconfirmed.
        """
        async with self._writing:
            await self._settle()
            document = self._merge(key, changes)
            validated(document)
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
                log.warning(
                    "the configuration of %s could not be removed: %s", model, error.message
                )

    def list(self) -> Iterator[tuple[ConfigurationKey, ModelConfiguration]]:
        """Yield every stored configuration of a model that is here, in a stable order."""
        for key in sorted(self._documents):
            whose = self._resolved(key) if key in self._named else key
            if whose is not None and (whose == key or whose not in self._documents):
                yield whose, validated(self._documents[key])

    def _merge(self, key: ConfigurationKey, changes: dict[str, Any]) -> dict[str, Any]:
        document = dict(self._stored(key) or {})
        for name, value in changes.items():
            if value is None:
                document.pop(name, None)
            else:
                document[name] = value
        return document

    async def _keep(self, documents: Documents) -> None:
        """Let these be the configurations, on the disk first."""
        await uninterrupted(self._replace(documents), name="write configurations")

    async def _replace(self, documents: Documents) -> None:
        try:
            await threads.run(configuration_file.save, self._file, documents)
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
                content = await threads.run(configuration_file.load, self._file)
            except OSError as error:
                raise storage_error(error, configuration_file.WHAT) from error
            self._take(content.documents)
            self._known = True

    def _take(self, documents: Documents) -> None:
        self._documents = documents
        self._named = tuple(key for key in documents if key.model.startswith(NAMED))
        self._parsed.clear()
        self.revision += 1
