"""What a runner is started for, and how long its engine may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from runnerd.backends.configuration import BackendConfiguration, BackendMode


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """How to start a runner.  `model` is the id, `model_ref` what the first client called
    it, `preload` are chat messages and `prefix` is text to evaluate before it counts as ready.
    """

    model: str
    model_ref: str
    mode: BackendMode
    configuration: BackendConfiguration
    preload: tuple[dict[str, Any], ...] = ()
    prefix: str = ""


class RunnerTimeouts(Protocol):
    """How long an engine may take to load, and to say nothing while it is in use; in seconds.

    Read at the moment when it counts: an owner may change it meanwhile.
    """

    @property
    def load_timeout(self) -> float: ...
    @property
    def hang_timeout(self) -> float: ...
