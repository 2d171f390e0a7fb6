"""The names that a model's runners have, and had lately: its engines' logs are called so."""

from __future__ import annotations

from runnerd.supervisor import RunnerChange

_MOST_MODELS = 1000
_MOST_NAMES = 32  # of one model


class RunnerNames:
    """Remembers them by the model's id, the newest last."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def changed(self, change: RunnerChange) -> None:
        """A runner is in another state."""
        for model in change.models or (change.model_ref,):
            names = self._names.pop(model, {})
            names.pop(change.id, None)
            names[change.id] = None
            if len(names) > _MOST_NAMES:
                del names[next(iter(names))]
            self._names[model] = names
            if len(self._names) > _MOST_MODELS:
                del self._names[next(iter(self._names))]

    def of(self, model: str) -> list[str]:
        """Those of the model with this id."""
        return list(self._names.get(model, ()))
