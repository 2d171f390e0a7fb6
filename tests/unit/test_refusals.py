"""What refused requests are told."""

from __future__ import annotations

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import EngineFailure
from runnerd.errors import BackendFailure
from runnerd.scheduler import DeviceMemory, FailureView, Fault, Refusal, RunnerKey, RunnerState
from runnerd.supervisor.refusals import fault_of, memory_account, refusal_error, share_account
from runnerd.supervisor.reports import RunnerReport

GIB = 2**30
KEY = RunnerKey("llama.cpp", "a", "completion", "0")
FAILURE = EngineFailure("llama.cpp could not load a (exit status 1)")


def holding(amount: int) -> RunnerReport:
    """Return a loaded runner that holds so much of the first GPU."""
    return RunnerReport(
        id="x",
        backend="llama.cpp",
        models=("b",),
        model_ref="ai/b:latest",
        mode=BackendMode.COMPLETION,
        state=RunnerState.READY,
        in_use=0,
        waiting=0,
        last_used_at=0,
        expires_at=None,
        keep_alive=0,
        ready_after=1,
        socket="",
        reserved={"gpu0": amount},
    )


def test_account_says_need_free_holders_and_what_could_be_had() -> None:
    """Everything that an owner needs to decide what to do."""
    device = DeviceMemory("gpu0", 24 * GIB, 5 * GIB, 23 * GIB)
    text = memory_account(
        {"gpu0": 20 * GIB}, [(device, 3 * GIB)], [holding(16 * GIB)], slots=2, context=8192
    )
    for part in (
        "gpu0: it needs 20.00 GiB",
        "free are 5.00 GiB of 24.00 GiB",
        "other programs use 3.00 GiB",
        "ai/b:latest 16.00 GiB",
        "at most 21.00 GiB",
        "2 requests at a time, with 8192 tokens each",
        "smaller context",
        "fewer slots",
    ):
        assert part in text


def test_others_do_not_hear_what_else_there_is() -> None:
    """A user may not know of the models that hold the memory: how much it is has to do."""
    device = DeviceMemory("gpu0", 24 * GIB, 5 * GIB, 23 * GIB)
    text = memory_account(
        {"gpu0": 20 * GIB},
        [(device, 3 * GIB)],
        [holding(16 * GIB), holding(1 * GIB)],
        slots=2,
        context=8192,
        names=False,
    )
    assert "other models with 17.00 GiB" in text
    assert "ai/b" not in text


def test_failing_model_says_how_often_and_when_it_is_tried_again() -> None:
    """With the last words, and Retry-After for programs."""
    trouble = FailureView(KEY, FAILURE, 3, failed_at=90.0, retry_at=104.0, refuses=True)
    error = refusal_error(Refusal.FAILING, FAILURE, trouble=trouble, now=100.0)
    assert error.status == 502
    assert "3 times in ten minutes" in error.message
    assert "exit status 1" in error.message
    assert error.headers()["Retry-After"] == "4"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.QUEUE_FULL, 429),
        (Refusal.QUEUE_TIMEOUT, 429),
        (Refusal.DRAINING, 503),
        (Refusal.UNLOADED, 409),
        (Refusal.LOAD_FAILED, 502),
        (Refusal.FAILING, 502),
        (Refusal.NO_MEMORY, 507),
    ],
)
def test_every_refusal_has_its_status(refusal: Refusal, status: int) -> None:
    """Overload is 429 and never 503, which `docker model` reads as no daemon at all."""
    failure = FAILURE if status in (502, 507) else None
    error = refusal_error(refusal, failure, trouble=None, now=0.0)
    assert error.status == status
    assert (error.retry_after is not None) or status not in (429,)


@pytest.mark.parametrize(
    ("failure", "fault"),
    [
        (BackendFailure("not installed"), Fault.NOT_STARTED),
        (EngineFailure("x", exit_reason="exit status 1", loading=True), Fault.REFUSED),
        (EngineFailure("x", exit_reason="killed by SIGILL", loading=True), Fault.REFUSED),
        (EngineFailure("x", exit_reason="killed by SIGABRT", loading=True), Fault.CRASH),
        (EngineFailure("x", exit_reason="killed by SIGSEGV", loading=True), Fault.CRASH),
        (EngineFailure("x", exit_reason="killed by SIGBUS", loading=True), Fault.CRASH),
        (EngineFailure("x", exit_reason="killed by SIGKILL", loading=True), Fault.CRASH),
        (EngineFailure("x", exit_reason="not ready in time", loading=True), Fault.CRASH),
        (EngineFailure("x", exit_reason="exit status 1"), Fault.CRASH),
        (EngineFailure("x", exit_reason="killed by SIGSEGV"), Fault.CRASH),
        (EngineFailure("x", loading=True, out_of_memory=True), Fault.OUT_OF_MEMORY),
        (EngineFailure("x", exit_reason="exit status 1", out_of_memory=True), Fault.CRASH),
    ],
)
def test_failures_are_told_apart(failure: BackendFailure, fault: Fault) -> None:
    """What a next try would do is told from how the engine ended."""
    assert fault_of(failure) is fault


def test_owner_is_told_which_of_his_words_refuses() -> None:
    """What is needed, what may be had, and the setting that says so."""
    devices = [
        (DeviceMemory("ram", 64 * GIB, 60 * GIB, 16 * GIB, 16 * GIB), 0),
        (DeviceMemory("gpu0", 24 * GIB, 24 * GIB, 24 * GIB, None), 0),
    ]
    account = share_account({"ram": 20 * GIB, "gpu0": 30 * GIB}, devices)
    error = refusal_error(Refusal.OVER_SHARE, None, trouble=None, now=0.0, account=account)
    assert error.status == 507
    assert "it needs 20.00 GiB of ram" in error.message
    assert "may have 16.00 GiB" in error.message
    assert "memory_share" in error.message
    assert "gpu0" not in error.message
    assert error.headers()["x-should-retry"] == "false"
