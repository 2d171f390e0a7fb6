"""Who is to blame for an engine's end, and for how long."""

from __future__ import annotations

import json

import pytest

from runnerd.backends.interface import EngineFailure
from runnerd.errors import BackendFailure, HarmfulRequest
from runnerd.relay.quarantine import Quarantine
from runnerd.runner import EngineHang
from runnerd.scheduler import RunnerKey
from tests.support.waiting import until

KEY = RunnerKey("llama.cpp", "m", "completion", "0")
OTHER = KEY._replace(configuration="1")
CRASH = EngineFailure("it crashed\nlog", exit_reason="killed by SIGSEGV")
POISON, INNOCENT = (b"poison",), (b"innocent",)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    return Quarantine(clock)


def refused(quarantine: Quarantine, body: tuple[bytes, ...], key: RunnerKey = KEY) -> bool:
    try:
        quarantine.check(key, body)
    except HarmfulRequest:
        return True
    return False


def test_third_one_is_refused_with_the_reason(quarantine: Quarantine, clock: Clock) -> None:
    """Two engines on its own; however its bytes are cut; not another request or configuration."""
    assert not quarantine
    quarantine.accuse(1, KEY, POISON, CRASH)
    assert quarantine
    assert not refused(quarantine, POISON)
    clock.now += 60
    quarantine.accuse(2, KEY, (b"poi", memoryview(b"son")), CRASH)
    with pytest.raises(HarmfulRequest, match=r"it crashed$") as caught:
        quarantine.check(KEY, POISON)
    assert caught.value.status == 422
    assert caught.value.retry_after == 540
    assert not refused(quarantine, INNOCENT)
    assert not refused(quarantine, POISON, OTHER)


def test_it_is_forgotten_in_time(quarantine: Quarantine, clock: Clock) -> None:
    """Ten minutes after the first death the second one alone is not enough, and then nothing is
    left.
    """
    quarantine.accuse(1, KEY, POISON, CRASH)
    clock.now += 300
    quarantine.accuse(2, KEY, POISON, CRASH)
    clock.now += 301
    assert not refused(quarantine, POISON)
    assert quarantine
    clock.now += 300
    assert not refused(quarantine, POISON)
    assert not quarantine


def test_company_shares_the_blame(quarantine: Quarantine) -> None:
    """Four engines that a request shared with one other; the others were different each time."""
    for generation in range(4):
        assert not refused(quarantine, POISON)
        quarantine.accuse(generation, KEY, POISON, CRASH)
        quarantine.accuse(generation, KEY, (b"other %d" % generation,), CRASH)
    assert refused(quarantine, POISON)
    assert not any(refused(quarantine, (b"other %d" % number,)) for number in range(4))


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (CRASH, True),
        (EngineFailure("", exit_reason="exit status 3"), True),
        (EngineHang("", exit_reason="hang"), True),
        (EngineFailure("", exit_reason="killed by SIGKILL"), False),
        (EngineFailure("", exit_reason="killed by SIGTERM"), False),
        (EngineFailure("", exit_reason="exit status 1", loading=True), False),
        (EngineFailure("", exit_reason="exit status 1", out_of_memory=True), False),
        (BackendFailure("the model was unloaded"), False),
    ],
)
def test_only_an_engines_own_end_counts(
    quarantine: Quarantine, failure: BackendFailure, counts: bool
) -> None:
    """A signal from outside, want of memory or a failed load is no request's fault."""
    for generation in range(2):
        quarantine.accuse(generation, KEY, POISON, failure)
    assert refused(quarantine, POISON) is counts
    assert bool(quarantine) is counts


def test_memory_is_bounded(quarantine: Quarantine) -> None:
    """However many requests and engines end: the newest are remembered."""
    for number in range(5000):
        quarantine.accuse(number, KEY, (b"%d" % number,), CRASH)
        quarantine.accuse(10_000 + number, KEY, (b"%d" % number,), CRASH)
    assert refused(quarantine, (b"4999",))
    assert not refused(quarantine, (b"0",))
    assert len(quarantine._kinds) <= 512
    assert len(quarantine._deaths) <= 64


HANG = EngineHang("it hangs", exit_reason="hang")


def grammar(prompt: str, rules: str = "root ::= " + "x" * 50) -> tuple[bytes, ...]:
    said = {"model": "m", "prompt": prompt, "grammar": rules}
    text = json.dumps(said).encode()
    return text[:20], text[20:]


def test_a_hang_is_known_by_its_shape(quarantine: Quarantine) -> None:
    """Another prompt is no way around it; another grammar is, and so is none."""
    quarantine.accuse(1, KEY, grammar("a"), HANG)
    quarantine.accuse(2, KEY, grammar("b"), HANG)
    assert refused(quarantine, grammar("c"))
    assert not refused(quarantine, grammar("c"), OTHER)
    assert not refused(quarantine, grammar("c", "root ::= " + "y" * 50))
    assert not refused(quarantine, (b'{"prompt":"c"}',))


def test_only_a_hang_is(quarantine: Quarantine) -> None:
    """What crashes an engine may lie in the prompt."""
    quarantine.accuse(1, KEY, grammar("a"), CRASH)
    quarantine.accuse(2, KEY, grammar("b"), CRASH)
    assert not refused(quarantine, grammar("c"))


def test_what_all_say_is_no_shape(quarantine: Quarantine) -> None:
    """Such as that the response be text."""
    for generation in (1, 2):
        body = json.dumps({"prompt": generation, "response_format": {"type": "json_object"}})
        quarantine.accuse(generation, KEY, (body.encode(),), HANG)
    assert not refused(quarantine, (b'{"prompt":3,"response_format":{"type":"json_object"}}',))


def test_who_leaves_an_engine_that_hangs_is_accused(quarantine: Quarantine, clock: Clock) -> None:
    """Not who had left before it began to, and nobody where it died in another way."""
    shape = json.dumps({"grammar": "root ::= " + "a" * 50}).encode()
    for generation in range(3):
        quarantine.left(generation, KEY, INNOCENT)
        clock.now += 100
        hang = EngineHang("it hangs", exit_reason="hang")
        hang.silent_since = clock.now
        quarantine.left(generation, KEY, (shape,))
        clock.now += 200  # however long it takes until somebody sees it, and until it has ended
        quarantine.lost(generation, hang if generation else CRASH)
        assert refused(quarantine, (shape,)) == (generation == 2)
    assert refused(quarantine, (shape[:-1] + b',"prompt":"another one"}',))
    assert not refused(quarantine, INNOCENT)


async def test_a_large_request_is_looked_at_beside_the_event_loop(quarantine: Quarantine) -> None:
    """Who is to blame is known a moment later."""
    body = (b'{"prompt":"', b"x" * 2**20, b'"}')
    for generation in (1, 2):
        quarantine.accuse(generation, KEY, body, CRASH)
    assert not refused(quarantine, body)
    await until(lambda: refused(quarantine, body))
