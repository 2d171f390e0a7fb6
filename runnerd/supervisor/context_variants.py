"""Runners with a wider context than is configured, because a request asked for it.

Ollama's clients send `num_ctx` with each request, and a server that reloads a model whenever it
differs loads all day long.  Here a runner serves whoever asks for no more than it has.  Who asks
for more gets a runner of its own configuration, which the scheduler gives room as any other; from
then on it serves the others too, if theirs is gone.

    asked for       loaded                  gets
    nothing, less   as configured           that one
    nothing, less   only a wider one        the wider one
    more            a wide enough one       that one
    more            none                    a new one, of the next power of two

An owner's own word counts: where a context is configured, nobody gets more.  Nothing grows beyond
what the model was trained for, nor beyond `limits.num_ctx`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import Backend
from runnerd.config import Settings
from runnerd.configurations import ModelConfiguration
from runnerd.errors import RunnerdError
from runnerd.scheduler import Queries, RunnerKey, RunnerState
from runnerd.supervisor.sharing import Sharing


class ContextVariants:
    """Chooses the runner for a context, and knows how the wider ones are configured."""

    def __init__(
        self,
        settings: Settings,
        backends: Mapping[str, Backend],
        sharing: Sharing,
        scheduler: Queries,
    ) -> None:
        self.limit = settings.limits.num_ctx
        self._backends = backends
        self._sharing = sharing
        self._scheduler = scheduler
        self._moments = itertools.count(1)
        self._wider: dict[RunnerKey, dict[int, RunnerKey]] = {}
        self._made: dict[RunnerKey, ModelConfiguration] = {}

    @property
    def revision(self) -> int:
        """Another number whenever `key` may return something else for the same model."""
        return -next(self._moments) if self._wider else self._sharing.revision

    def key(
        self, backend: str, model: str, mode: BackendMode, context: int | None = None
    ) -> RunnerKey:
        """Return the key of the runner for a request that needs `context` tokens, if it says so."""
        key = self._sharing.key(backend, model, mode)
        if context is None and not self._wider:
            return key
        return self._chosen(key, self._sharing.configuration(key), context or 0)

    def configuration(self, key: RunnerKey) -> ModelConfiguration:
        """The configuration that the runner of a key is started with, its context size chosen."""
        made = self._made.get(key)
        return self._sharing.configuration(key) if made is None else made

    def context(self, key: RunnerKey) -> int:
        """Return the tokens of context of a runner, 0 where nobody knows."""
        return self._context(key, self.configuration(key))

    def forget(self, load: str) -> None:
        """Drop what was made for a load that is no more."""
        for kept in (self._wider, self._made):
            for key in [key for key in kept if key.model == load]:
                del kept[key]

    def _chosen(self, key: RunnerKey, configuration: ModelConfiguration, wanted: int) -> RunnerKey:
        own = self._context(key, configuration)
        alive = self._alive()
        enough = wanted <= own or not own
        wider = self._wider.pop(key, {})
        if wider := {size: made for size, made in wider.items() if made in alive}:
            self._wider[key] = wider
        if enough and key in alive:
            return key
        if fitting := [size for size in wider if size >= wanted]:
            return wider[min(fitting)]
        return key if enough else self._widened(key, configuration, wanted, own)

    def _widened(
        self, key: RunnerKey, configuration: ModelConfiguration, wanted: int, own: int
    ) -> RunnerKey:
        size = min(1 << (wanted - 1).bit_length(), self._largest(key, configuration))
        if size <= own:
            return key
        made = configuration.model_copy(update={"context_size": size})
        wider = key._replace(configuration=made.fingerprint())
        self._made[wider] = made
        self._wider.setdefault(key, {})[size] = wider
        return wider

    def _largest(self, key: RunnerKey, configuration: ModelConfiguration) -> int:
        if configuration.context_size is not None:
            return 0
        trained = configuration.model_copy(update={"context_size": -1})
        return min(self._context(key, trained), self.limit)

    def _context(self, key: RunnerKey, configuration: ModelConfiguration) -> int:
        try:
            return self._backends[key.backend].context(key.model, configuration)
        except RunnerdError:  # its files are gone or damaged: whoever loads it will say so
            return 0

    def _alive(self) -> set[RunnerKey]:
        """Return the keys that a request can be sent to without another load."""
        serving = {
            view.key
            for view in self._scheduler.view()
            if view.state is not RunnerState.STOPPING and not view.draining
        }
        return serving | self._scheduler.waiting().keys()
