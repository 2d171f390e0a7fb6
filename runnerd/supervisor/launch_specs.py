"""What runners are started for, by key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.errors import RunnerdError
from runnerd.runner import LaunchSpec
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.memory import with_slots

_KEPT = 256  # more than any host has models


class LaunchSpecs:
    """Remembers a launch spec per key, under the name that the first client used.

    `name_of` says what to call what nobody has asked for by name.
    """

    def __init__(
        self,
        name_of: Callable[[RunnerKey], str],
        configuration_of: Callable[[RunnerKey], ModelConfiguration],
    ) -> None:
        self._name_of = name_of
        self._configuration_of = configuration_of
        self._launch_specs: dict[RunnerKey, LaunchSpec] = {}

    def name(self, key: RunnerKey) -> str:
        """What people call the model of a key, its id where it is gone."""
        if (spec := self._launch_specs.get(key)) is not None:
            return spec.model_ref
        try:
            return self._name_of(key)
        except RunnerdError:
            return key.model

    def of(
        self, key: RunnerKey, model_ref: str | None = None, *, slots: int | None = None
    ) -> LaunchSpec:
        """What to start for a key, with so many slots where they are limited."""
        spec = self._launch_specs.get(key)
        if spec is None:
            configuration = self._configuration_of(key)
            preload = tuple(message.model_dump() for message in configuration.preload)
            name = model_ref or self._name_of(key)
            spec = self._launch_specs[key] = LaunchSpec(
                key.model,
                name,
                BackendMode(key.mode),
                configuration,
                preload,
                configuration.preload_prefix,
            )
        if slots is None:
            return spec
        return replace(spec, configuration=with_slots(spec.configuration, slots))

    def forget(self, load: str) -> None:
        """Drop the specs of a load: its models are others now, or are called or kept otherwise."""
        for key in [key for key in self._launch_specs if key.model == load]:
            del self._launch_specs[key]

    def prune(self, in_use: Callable[[], set[RunnerKey]]) -> None:
        """Drop what is not in use, once there are many."""
        if len(self._launch_specs) > _KEPT:
            for key in self._launch_specs.keys() - in_use():
                del self._launch_specs[key]
