"""What a refused request is told, and what kind of failure a failure is."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from runnerd.access import Principal, PrincipalKind
from runnerd.backends.interface import EngineFailure
from runnerd.errors import (
    BackendFailure,
    Conflict,
    Draining,
    HostExhausted,
    InsufficientStorage,
    ModelDeleted,
    ModelNotFound,
    Overloaded,
    RunnerdError,
)
from runnerd.runner import EngineHang
from runnerd.scheduler import (
    DeviceMemory,
    FailureView,
    Fault,
    Queries,
    Refusal,
    Refuse,
    RunnerKey,
)
from runnerd.supervisor.context_variants import ContextVariants
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.reports import Reports, RunnerReport
from runnerd.units import binary_size

_RETRY_AFTER = 5.0  # seconds; what an overloaded daemon asks a client to wait

_REFUSES = re.compile(r"exit status [1-9]|killed by SIGILL\b")
"""How an engine ends a load that it would end so again.

It says so itself by its status, and an instruction that this processor has not is none the next
time either; the trial of an engine runs no instruction of every model.  Any other signal may be
chance, and is made good once.
"""

_BY_ITSELF = re.compile(r"exit status [1-9]|killed by SIG(ABRT|SEGV|ILL|FPE|BUS)\b")


def fault_of(failure: BackendFailure) -> Fault:
    """What kind of failure ended a runner."""
    if isinstance(failure, HostExhausted):
        return Fault.CRASH  # it may be there in a moment
    if not isinstance(failure, EngineFailure):
        return Fault.NOT_STARTED
    if failure.loading and failure.out_of_memory:
        return Fault.OUT_OF_MEMORY  # in service there was room for it, and then for some request
    if failure.loading and _REFUSES.match(failure.exit_reason):
        return Fault.REFUSED
    return Fault.CRASH


def died_by_itself(failure: BackendFailure) -> bool:
    """Return whether a ready engine ended for what it was doing: a crash or a hang, but no signal
    from outside and no want of memory.
    """
    if not isinstance(failure, EngineFailure) or failure.loading or failure.out_of_memory:
        return False
    return isinstance(failure, EngineHang) or _BY_ITSELF.match(failure.exit_reason) is not None


class Refusals:
    """Says why a request got no runner, from all that is known at that moment."""

    def __init__(
        self,
        scheduler: Queries,
        reports: Reports,
        *,
        preparation: Preparation,
        variants: ContextVariants,
    ) -> None:
        self._scheduler = scheduler
        self._reports = reports
        self._preparation = preparation
        self._variants = variants

    def error(self, refused: Refuse, wanted: RunnerKey, principal: Principal) -> RunnerdError:
        """The error for a request that wanted a runner of a key and was refused.

        Only owners hear which other models there are.
        """
        failure = refused.failure
        views = self._scheduler.failures()
        trouble = next((view for view in views if failure and view.failure is failure), None)
        account = ""
        if trouble is not None and refused.refusal is Refusal.NO_MEMORY:
            key = trouble.key
            account = memory_account(
                self._scheduler.need(key),
                self._scheduler.devices(),
                self._reports.all(),
                slots=self._preparation.terms(key).shapes[-1].slots,
                context=self._variants.context(key),
                names=principal.kind is PrincipalKind.OWNER,
            )
        elif refused.refusal is Refusal.OVER_SHARE:
            account = share_account(self._scheduler.need(wanted), self._scheduler.devices())
        return refusal_error(
            refused.refusal, failure, trouble=trouble, now=time.monotonic(), account=account
        )


def refusal_error(
    refusal: Refusal,
    failure: BackendFailure | None,
    *,
    trouble: FailureView | None,
    now: float,
    account: str = "",
) -> RunnerdError:
    """The error for a refused request.

    `trouble` is what is remembered of the model's failures, `account` who holds which memory.
    """
    retry_after = None if trouble is None else max(0.0, trouble.retry_at - now)
    match refusal:
        case Refusal.LOAD_FAILED if isinstance(failure, ModelDeleted):
            return ModelNotFound(failure.message)
        case Refusal.LOAD_FAILED if failure is not None:
            # Docker's clients look for this phrase; SDKs must not repeat a load that cannot work.
            return BackendFailure(
                f"unable to load runner: {failure.message}",
                retry_after=retry_after or None,
                should_retry=False,
            )
        case Refusal.FAILING if failure is not None:
            return BackendFailure(_failing(failure, trouble, now), retry_after=retry_after or 1.0)
        case Refusal.NO_MEMORY if failure is not None:
            return InsufficientStorage(
                f"unable to load runner: not enough memory, although everything that could go was "
                f"evicted for it. {account}\n\n{failure.message}",
                retry_after=retry_after or None,
                should_retry=False,
            )
        case Refusal.OVER_SHARE:
            return InsufficientStorage(
                f"unable to load runner: {account}; nothing was evicted for it.  A smaller context "
                "(`runnerd configure --context-size`) or quantisation needs less, and memory_share "
                "says what models may have",
                should_retry=False,
            )
        case Refusal.DRAINING:
            return Draining("the daemon is shutting down")
        case Refusal.UNLOADED:
            return Conflict("the model was unloaded while this request waited for it")
        case Refusal.QUEUE_TIMEOUT:
            return Overloaded(
                "no runner became free in time (queue_timeout)", retry_after=_RETRY_AFTER
            )
        case _:
            return Overloaded("too many requests wait for a runner", retry_after=_RETRY_AFTER)


def memory_account(
    need: Mapping[str, int],
    devices: Sequence[tuple[DeviceMemory, int]],
    reports: Sequence[RunnerReport],
    *,
    slots: int | None,
    context: int,
    names: bool = True,
) -> str:
    """Return who holds which memory, for the owner of a model that got too little; without `names`
    how much it is.

    `devices` come with the bytes that other programs use; `slots` is how many requests at a time
    the model would serve at least (None: no limit), each with `context` tokens (0: unknown).
    """
    sentences = [
        _account(device, others, need.get(device.id), reports, names=names)
        for device, others in devices
    ]
    if slots and context:
        counted = "1 request" if slots == 1 else f"{slots} requests"
        sentences.append(f"It is to serve {counted} at a time, with {context} tokens each.")
    fewer = " fewer slots (`--set parallel=1`)," if slots and slots > 1 else ""
    smaller = "A smaller context (`runnerd configure --context-size`)"
    remedy = f"{smaller},{fewer} or quantisation needs less."
    return " ".join([*sentences, remedy])


def share_account(need: Mapping[str, int], devices: Sequence[tuple[DeviceMemory, int]]) -> str:
    """A sentence for each device of which a model needs more than an owner gives to all models."""
    return " and ".join(
        f"it needs {binary_size(need[device.id])} of {device.id}, of which all models together may "
        f"have {binary_size(device.share)}"
        for device, _ in devices
        if device.share is not None and need.get(device.id, 0) > device.share
    )


def _account(
    device: DeviceMemory,
    others: int,
    need: int | None,
    reports: Sequence[RunnerReport],
    *,
    names: bool,
) -> str:
    holders = [
        f"{report.model_ref} {binary_size(report.reserved[device.id])}"
        for report in reports
        if report.reserved.get(device.id)
    ]
    if holders and not names:
        held = sum(report.reserved.get(device.id, 0) for report in reports)
        holders = [f"other models with {binary_size(held)}"]
    most = max(0, min(device.limit, device.total - others))
    return (
        f"{device.id}: it needs {'an unknown amount' if need is None else binary_size(need)}; "
        f"free are {binary_size(device.free)} of {binary_size(device.total)}; "
        f"other programs use {binary_size(others)}; "
        f"loaded are {', '.join(holders) or 'no other models'}; "
        f"at most {binary_size(most)} could be had."
    )


def _failing(failure: BackendFailure, trouble: FailureView | None, now: float) -> str:
    if trouble is None:
        return f"unable to load runner: {failure.message}"
    times = "once" if trouble.failures == 1 else f"{trouble.failures} times in ten minutes"
    wait = max(1, round(trouble.retry_at - now))
    return (
        f"unable to load runner: it has failed {times} and is not tried again for {wait} s "
        f"(`runnerd load` tries at once). The last failure: {failure.message}"
    )
