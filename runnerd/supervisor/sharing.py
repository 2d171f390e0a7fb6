"""Which models a runner serves: several, where their engines would be started the same.

A model that was made of another one with parameters, a system prompt, messages or a licence has the
other one's weights, and its engine the other one's command line: such models share a *load* (see
`models.model.Model.load`), and a runner's key names the load.  What a model is called and what is
put into its requests is decided before a runner is leased.

Owners may want each of them kept differently.  A shared runner is kept as the most demanding of the
models that were asked for says: the longest keep-alive, the most instances, pinned if one of them
is.  Models that are started differently (a context size of their own) have different keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from runnerd.backends.configuration import BackendMode
from runnerd.config import Settings
from runnerd.configurations import Configurations, ModelConfiguration
from runnerd.scheduler import RunnerKey
from runnerd.units import FOREVER

_Load = tuple[str, str, str]  # backend, load, mode


@dataclass(frozen=True, slots=True)
class Kept:
    """How the runners of a key are kept; as in `configurations.ModelConfiguration`."""

    keep_alive: float | None
    min_instances: int
    max_instances: int
    pinned: bool
    exclusive_groups: tuple[str, ...]


class Sharing:
    """Makes keys of models, and remembers which models were asked for with each load.

    `load_of` returns the load of a model id, `loaded_as` the ids of all models of a load.  Of the
    models that `external` backends keep themselves, each is a load of its own.
    """

    def __init__(
        self,
        settings: Settings,
        configurations: Configurations,
        *,
        load_of: Callable[[str], str],
        loaded_as: Callable[[str], Sequence[str]],
        external: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._configurations = configurations
        self.load_of = load_of
        self._loaded_as = loaded_as
        self._external = external
        self._models: dict[_Load, list[str]] = {}  # model ids, the first one asked for first
        self._changes = 0

    @property
    def revision(self) -> int:
        """Another number whenever something is configured or a model joins or leaves others."""
        return self._configurations.revision + self._changes

    def key(self, backend: str, model: str, mode: BackendMode) -> RunnerKey:
        """Return the key of the runner that serves a model as it is configured now."""
        _, fingerprint = self._configurations.effective(backend, model, mode)
        load = model if backend in self._external else self.load_of(model)
        models = self._models.setdefault((backend, load, mode.value), [])
        if model not in models:
            models.append(model)
            self._changes += 1
        return RunnerKey(backend, load, mode.value, fingerprint)

    def models(self, key: RunnerKey) -> list[str]:
        """Return the models that were asked for and that a runner of this key serves.

        Where those are gone it is any that it could serve.
        """
        asked = self._models.get(key[:3], [])
        same = [model for model in asked if self._effective(key, model)[1] == key.configuration]
        if same or asked or key.backend in self._external:
            return same or asked or [key.model]
        return [*self._loaded_as(key.model)] or [key.model]

    def is_here(self, key: RunnerKey) -> bool:
        """Say whether there is still a model that runners of this key could serve."""
        return key.backend in self._external or bool(self._loaded_as(key.model))

    def serves(self, key: RunnerKey, model: str) -> bool:
        """Say whether a model's requests may go to a runner of this key."""
        return (model if key.backend in self._external else self.load_of(model)) == key.model

    def configuration(self, key: RunnerKey) -> ModelConfiguration:
        """The configuration that a runner of this key is started with.

        Of the models that share it one with a preload is taken, else any: they load alike.
        """
        found = [self._effective(key, model)[0] for model in self.models(key)]
        preloaded = (each for each in found if each.preload or each.preload_prefix)
        return next(preloaded, found[0])

    def kept(self, key: RunnerKey) -> Kept:
        """Return how the runners of a key are kept."""
        found = [self._effective(key, model) for model in self.models(key)]
        configurations = [configuration for configuration, _ in found]
        current = [each for each, fingerprint in found if fingerprint == key.configuration]
        groups = (group for each in configurations for group in each.exclusive_group)
        return Kept(
            keep_alive=max(configurations, key=self._seconds).keep_alive,
            min_instances=max((each.min_instances for each in current), default=0),
            max_instances=max(each.max_instances for each in configurations),
            pinned=any(each.pinned for each in current),
            exclusive_groups=tuple(dict.fromkeys(groups)),
        )

    def is_wanted(self, key: RunnerKey, *, but: str) -> bool:
        """Say whether another model than `but` is served by runners of this key."""
        return any(
            model != but and self._effective(key, model)[1] == key.configuration
            for model in self._models.get(key[:3], [])
        )

    def forget(self, model: str) -> None:
        """A model has been deleted."""
        for load, models in list(self._models.items()):
            if model in models:
                models.remove(model)
                self._changes += 1
            if not models:
                del self._models[load]

    def _effective(self, key: RunnerKey, model: str) -> tuple[ModelConfiguration, str]:
        return self._configurations.effective(key.backend, model, BackendMode(key.mode))

    def _seconds(self, configuration: ModelConfiguration) -> float:
        said = configuration.keep_alive
        said = self._settings.idle_timeout if said is None else said
        return float("inf") if said == FOREVER else said
