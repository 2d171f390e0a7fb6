"""Runners as `ps` shows them.  Times are Unix time in seconds; None: not yet, or never."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import NamingEngines
from runnerd.runner import Runner
from runnerd.scheduler import FailureView, Queries, RunnerKey, RunnerState, RunnerView
from runnerd.supervisor.context_variants import ContextVariants
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.sharing import Sharing


@dataclass(frozen=True, slots=True)
class RunnerReport:
    """A runner, or (state `failed`) a model that has failed and has none.

    `models` are the ids of those that were asked for and that it serves; they share their weights.
    `reserved` is bytes per device, `held` what it was really seen to hold of its own, `mapped` what
    of its mapped files (the weights) is in RAM beside that, `user` the uid that its engine was seen
    to run as where that is not the daemon's.  `slots` how many
    requests it serves at a time if that is limited, `draining` that it takes no more because
    another model's turn has come.  `context` is in tokens, 0 where unknown.  `failure` is why it
    failed and `retry_at` when it is tried again.  `engine` is which engine it has, for people.
    """

    id: str
    backend: str
    models: tuple[str, ...]
    model_ref: str
    mode: BackendMode
    state: RunnerState
    in_use: int
    waiting: int
    last_used_at: float
    expires_at: float | None
    keep_alive: float
    ready_after: float | None
    socket: str
    reserved: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] | None = None
    mapped: int | None = None
    user: int | None = None
    slots: int | None = None
    pinned: bool = False
    draining: bool = False
    context: int = 0
    failure: str | None = None
    retry_at: float | None = None
    engine: str = ""


class Reports:
    """Reports on all runners."""

    def __init__(
        self,
        scheduler: Queries,
        fleet: Fleet,
        *,
        sharing: Sharing,
        variants: ContextVariants,
        launch_specs: LaunchSpecs,
    ) -> None:
        self._scheduler = scheduler
        self._fleet = fleet
        self._sharing = sharing
        self._variants = variants
        self._launch_specs = launch_specs
        self._contexts: dict[int, int] = {}  # tokens, by generation

    def all(self) -> list[RunnerReport]:
        """Return every runner, and every model that has failed and has none."""
        offset = time.time() - time.monotonic()
        models = self._sharing.models
        views = self._scheduler.view()
        contexts = self._known_contexts(views)
        runners = [
            report(
                view,
                self._fleet[view.generation],
                self._launch_specs.name(view.key),
                models(view.key),
                offset=offset,
                context=contexts[view.generation],
            )
            for view in views
        ]
        waiting = self._scheduler.waiting()
        failures = [
            failure_report(
                view,
                self._launch_specs.name(view.key),
                models(view.key),
                waiting=waiting,
                offset=offset,
            )
            for view in self._scheduler.failures()
        ]
        return runners + failures

    def _known_contexts(self, views: Sequence[RunnerView]) -> Mapping[int, int]:
        """The tokens of context of each runner.  It was started with them, so they are found once:
        that takes looks at its model's files.
        """
        known = self._contexts
        self._contexts = {
            view.generation: known.get(view.generation) or self._variants.context(view.key)
            for view in views
        }
        return self._contexts


def report(
    view: RunnerView,
    runner: Runner,
    name: str,
    models: Sequence[str],
    *,
    offset: float,
    context: int,
) -> RunnerReport:
    """Return the report of a runner; `offset` is Unix time minus the scheduler's clock.

    `name` is what it is called now: the model that it was started for may be gone.
    """
    return RunnerReport(
        id=runner.name,
        backend=view.key.backend,
        models=tuple(models),
        model_ref=name,
        mode=runner.spec.mode,
        state=view.state,
        in_use=view.leases,
        waiting=view.waiting,
        last_used_at=view.used_at + offset,
        expires_at=None if view.expires_at is None else view.expires_at + offset,
        keep_alive=view.keep_alive,
        ready_after=runner.ready_after,
        socket=str(runner.socket),
        reserved=view.reserved,
        held=view.held,
        mapped=runner.mapped,
        user=runner.user,
        slots=view.slots,
        pinned=view.pinned,
        draining=view.draining,
        context=context,
        engine=_engine(runner),
    )


def _engine(runner: Runner) -> str:
    backend = runner.backend
    return backend.engine(runner.socket) if isinstance(backend, NamingEngines) else ""


def failure_report(
    view: FailureView,
    name: str,
    models: Sequence[str],
    *,
    waiting: Mapping[RunnerKey, int],
    offset: float,
) -> RunnerReport:
    """Return the report of a model that has failed and has no runner."""
    key = view.key
    return RunnerReport(
        id="",
        backend=key.backend,
        models=tuple(models),
        model_ref=name,
        mode=BackendMode(key.mode),
        state=RunnerState.FAILED,
        in_use=0,
        waiting=waiting.get(key, 0),
        last_used_at=view.failed_at + offset,
        expires_at=None,
        keep_alive=0.0,
        ready_after=None,
        socket="",
        failure=view.failure.message,
        retry_at=view.retry_at + offset,
    )
