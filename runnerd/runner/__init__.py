"""One model server's life: the only state machine with an operating-system process behind it.

`life` is the state machine, `engine_watch` looks at the engine, `failures` says what went wrong,
`launch` what a runner is started for.
"""

from runnerd.runner.engine_watch import UNASKED
from runnerd.runner.failures import EngineHang
from runnerd.runner.launch import LaunchSpec, RunnerTimeouts
from runnerd.runner.life import Runner, Watcher
from runnerd.scheduler import RunnerState

__all__ = [
    "UNASKED",
    "EngineHang",
    "LaunchSpec",
    "Runner",
    "RunnerState",
    "RunnerTimeouts",
    "Watcher",
]
