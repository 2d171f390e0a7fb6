"""What becomes of runners, told as it happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from runnerd.backends.configuration import BackendMode
from runnerd.runner import Runner
from runnerd.scheduler import RunnerState
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.sharing import Sharing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerChange:
    """A runner is in another state.

    `models` are the ids of those that it serves, `model_ref` is what it is called.  `reason` is why
    it stops (`scheduler.StopReason`), `failure` why it failed; `load_seconds` how long it took
    until it was ready.
    """

    id: str
    backend: str
    models: tuple[str, ...]
    model_ref: str
    mode: BackendMode
    state: RunnerState
    reason: str | None = None
    failure: str | None = None
    load_seconds: float | None = None


class Changes:
    """Tells whoever has subscribed what becomes of runners, at once."""

    def __init__(self, sharing: Sharing, launch_specs: LaunchSpecs) -> None:
        self._sharing = sharing
        self._launch_specs = launch_specs
        self._listeners: list[Callable[[RunnerChange], None]] = []

    def subscribe(self, listener: Callable[[RunnerChange], None]) -> None:
        """Call `listener`, which must not fail, with each change from now on."""
        self._listeners.append(listener)

    def tell(
        self,
        runner: Runner,
        state: RunnerState,
        *,
        reason: str | None = None,
        failure: str | None = None,
    ) -> None:
        """A runner is in another state."""
        change = RunnerChange(
            runner.name,
            runner.key.backend,
            tuple(self._sharing.models(runner.key)),
            self._launch_specs.name(runner.key),
            runner.spec.mode,
            state,
            reason,
            failure,
            runner.ready_after,
        )
        _log(change)
        for listener in self._listeners:
            listener(change)


def _log(change: RunnerChange) -> None:
    """One line for each change but a start: its backend says with what it starts it."""
    if change.state is RunnerState.STARTING:
        return
    level, said = logging.INFO, change.state.value
    if change.state is RunnerState.READY:
        said += f" after {change.load_seconds or 0.0:.1f} s"
    elif change.reason is not None:
        said += f" ({change.reason})"
    elif change.failure is not None:
        level, said = logging.WARNING, f"failed: {change.failure}"
    about = {"runner": change.id, "model": change.model_ref}
    log.log(level, "runner %s %s: %s", change.id, change.model_ref, said, extra=about)
