"""When a model that failed may be tried again.

    failure                          the next try                         requests meanwhile
    first crash of a runner          at once                              wait
    n-th in a row                    after 1, 2, 4 ... 60 s, jittered     wait
    the fifth within ten minutes     the same, and the circuit is open    are refused
    the engine refuses the model     after 60 s                           are refused
    no process was started           at once, then 1, 2, 4, 5 s;          are refused
                                     unasked after 60 s

A crash while loading is not the fault of those who wait: no request had reached the engine.  They
wait for the next try, and are told if that load fails as well.  What the engine refuses is told at
once (it said so by its status, or by an instruction that this processor has not), and so is a start
without a process: its reason says what to do.

Five minutes of good service make a crash a first one again, and a model that has answered since is
not on view as failed.  An open circuit lets one try through when its time has come.  The jitter
comes in as data: nothing here is random.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runnerd.backoff import Backoff
from runnerd.errors import BackendFailure
from runnerd.scheduler.decisions import Fault

_LONGEST_DELAY = 60.0
_BACKOFF = Backoff(first=1.0, longest=_LONGEST_DELAY)
_LONGEST_WITHOUT_PROCESS = 5.0  # a try costs next to nothing, and an owner may be mending it
_HEALTHY_AFTER = 300.0  # seconds of service
_WINDOW = 600.0
_FAILURES_TO_OPEN = 5


@dataclass(slots=True)
class FailureHistory:
    """One pool's failures.  Empty while all is well."""

    failure: BackendFailure | None = None
    failed_at: float = 0.0
    retry_at: float = 0.0
    unasked_at: float = 0.0  # when it may be started although nobody waits for it
    refuses: bool = False  # requests until `retry_at`, instead of letting them wait
    _in_a_row: int = 0
    _failed_loads: int = 0  # in a row
    _recent: list[float] = field(default_factory=list)

    def record(
        self,
        failure: BackendFailure,
        fault: Fault,
        now: float,
        *,
        served: float | None,
        jitter: float,
    ) -> None:
        """A runner failed after `served` seconds of service, None when it never was ready."""
        if served is not None and served >= _HEALTHY_AFTER:
            self.clear()
        self.failure, self.failed_at = failure, now
        self._in_a_row += 1
        self._recent = [at for at in self._recent if at > now - _WINDOW] + [now]
        self._failed_loads = 0 if served is not None else self._failed_loads + 1
        delay = _BACKOFF.pause(self._in_a_row - 1)  # the first crash is made good at once
        if fault is Fault.NOT_STARTED:
            delay, self.refuses = min(delay, _LONGEST_WITHOUT_PROCESS), True
        elif fault is not Fault.CRASH:
            delay, self.refuses = _LONGEST_DELAY, True
        else:
            self.refuses = len(self._recent) >= _FAILURES_TO_OPEN
        self.retry_at = now + delay * jitter
        self.unasked_at = now + _LONGEST_DELAY if fault is Fault.NOT_STARTED else self.retry_at

    @property
    def tells(self) -> bool:
        """Whether those who waited for the load that failed last are told, or wait for the next."""
        return self.refuses or self._failed_loads > 1

    def loaded(self) -> None:
        """A runner is ready."""
        self._failed_loads = 0

    def answered(self) -> None:
        """A runner has answered: the model works, whatever it did before."""
        self.failure, self.refuses = None, False

    def clear(self) -> None:
        """Forget everything: an owner has stepped in, or it was well for long enough."""
        self.failure = None
        self.retry_at = self.unasked_at = self.failed_at = 0.0
        self.refuses = False
        self._in_a_row = self._failed_loads = 0
        self._recent.clear()

    def stale(self, now: float) -> bool:
        """Return whether nothing here matters any more."""
        return self.failure is None or now > max(self.retry_at, self.failed_at + _WINDOW)

    @property
    def failures(self) -> int:
        """How many failures there were within ten minutes, up to the last one."""
        return len(self._recent)
