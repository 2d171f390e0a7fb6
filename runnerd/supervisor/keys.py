"""Which runner serves a model: its key, and what is said of the runners of a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import Backend
from runnerd.config import Settings
from runnerd.configurations import Configurations, ModelConfiguration
from runnerd.errors import BackendNotFound, RunnerNotFound
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.context_variants import ContextVariants
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.sharing import Sharing


class Keys:
    """Answers what has to be known of a runner before one is leased."""

    def __init__(
        self,
        settings: Settings,
        backends: Mapping[str, Backend],
        configurations: Configurations,
        *,
        sharing: Sharing,
        variants: ContextVariants,
        fleet: Fleet,
    ) -> None:
        self._settings = settings
        self.backends = backends
        self._configurations = configurations
        self._sharing = sharing
        self._variants = variants
        self._fleet = fleet

    def backend(self, name: str | None) -> Backend:
        """Return a backend by name, the default one for None.  Raises errors.BackendNotFound."""
        backend = self.backends.get(name or self._settings.default_backend)
        if backend is None:
            known = ", ".join(sorted(self.backends)) or "none"
            raise BackendNotFound(f"backend not found: {name!r} (there is: {known})")
        return backend

    @property
    def revision(self) -> int:
        """A number that changes whenever `key` may return something else for the same model."""
        return self._variants.revision

    def key(
        self, backend: Backend, model: str, mode: BackendMode, *, context: int | None = None
    ) -> RunnerKey:
        """Return the key of the runner for `model`, with `context` tokens where that is asked."""
        return self._variants.key(backend.name, model, mode, context)

    def of_runner(
        self, id: str, visible: Callable[[str, str], bool] = lambda backend, model: True
    ) -> RunnerKey:
        """Return the key of a runner by the id that `ps` shows.

        Raises errors.RunnerNotFound, also where none of its models is `visible`, which is asked
        with a backend and a model's id.
        """
        runner = self._fleet.named(id)
        if runner is not None:
            key = runner.key
            if any(visible(key.backend, model) for model in self._sharing.models(key)):
                return key
        raise RunnerNotFound(f"no runner {id!r}; `runnerd ps` lists them")

    def context(self, key: RunnerKey) -> int:
        """Return the tokens of context that a runner has, 0 where nobody knows."""
        return self._variants.context(key)

    def configuration(self, key: RunnerKey, model: str) -> ModelConfiguration:
        """The configuration in force for one of the models that runners of this key serve."""
        return self._configurations.effective(key.backend, model, BackendMode(key.mode))[0]

    def spreads(self, key: RunnerKey) -> bool:
        """Say whether there may be several instances of a runner."""
        return self._sharing.kept(key).max_instances > 1

    def serves(self, key: RunnerKey, model: str) -> bool:
        """Say whether a model's requests may go to a runner of this key."""
        return self._sharing.serves(key, model)
