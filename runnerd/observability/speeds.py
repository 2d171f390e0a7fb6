"""How quickly runners generate: now, as far as streams tell, and lately.

Engines count tokens at a response's end.  While a stream runs, its bytes tell how many it has had:
an event is about as long as those of the streams before it were.  So nothing is counted for this
while requests run, and nothing is asked of engines; who looks compares with the look before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, Protocol

from runnerd.observability.request_figures import TimedRequest

_RECENT = 60.0  # seconds after which a response says nothing of a runner's speed any more
_LOOKED_AT = 300  # of the newest requests that have ended
_LEAST = 0.25  # seconds of a stream that tell something
_APART = 1.0  # seconds between two looks that are compared, at least
_EVENT_BYTES = 200.0  # of a token in a stream, as long as none like it has ended


class SeenRequest(TimedRequest, Protocol):
    """What is looked at of a request; `clock` is when it began, the other times are since then."""

    @property
    def id(self) -> str: ...
    @property
    def runner(self) -> str | None: ...
    @property
    def clock(self) -> float: ...
    @property
    def bytes_out(self) -> int: ...


class Speed(NamedTuple):
    """Tokens per second that a runner generates, None where nothing tells it.

    `now`: in the streams that run; `lately`: in the last minute, while it did.
    """

    now: float | None
    lately: float | None

    @property
    def shown(self) -> float | None:
        """The better one of the two."""
        return self.lately if self.now is None else self.now


UNKNOWN = Speed(None, None)


class _Look(NamedTuple):
    """How much of a stream there was at a time."""

    at: float
    sent: int


class Speeds:
    """Remembers what was seen of the streams that run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is the one that requests are timed by."""
        self._clock = clock
        self._looks: dict[tuple[str, float], tuple[_Look, _Look]] = {}  # the one before, the last

    def look(
        self, running: Iterable[SeenRequest], ended: Iterable[SeenRequest]
    ) -> dict[str, Speed]:
        """The speeds of runners, by name; `ended` begins with the newest."""
        lately, bytes_of = _Lately(), _TokenBytes()
        now = self._clock()
        for request in islice(ended, _LOOKED_AT):
            if request.runner is None or request.duration is None:
                continue
            at = request.clock + request.duration
            if now - at <= _RECENT and (generated := request.usage.generated):
                lately.add(request.runner, generated, request.clock + (request.waited or 0.0), at)
                bytes_of.add(request, generated)
        streams = self._streams(running, bytes_of, now)
        recent = lately.speeds()
        return {
            name: Speed(streams.get(name), recent.get(name)) for name in streams.keys() | recent
        }

    def _streams(
        self, running: Iterable[SeenRequest], bytes_of: _TokenBytes, now: float
    ) -> dict[str, float]:
        """What the streams that run have brought since the look before."""
        looks: dict[tuple[str, float], tuple[_Look, _Look]] = {}
        speeds: dict[str, float] = {}
        for request in running:
            if not request.streamed or request.first_byte is None or request.runner is None:
                continue
            key, this = (request.id, request.clock), _Look(now, request.bytes_out)
            first = _Look(request.clock + request.first_byte, 0)
            before, last = self._looks.get(key, (first, this))
            if now - last.at >= _APART:
                before, last = last, this
            looks[key] = before, last
            if (passed := now - before.at) >= _LEAST:
                tokens = (this.sent - before.sent) / bytes_of.a_token_of(request)
                speeds[request.runner] = speeds.get(request.runner, 0.0) + tokens / passed
        self._looks = looks
        return speeds


class _TokenBytes:
    """The bytes that streams have for a token: of the same runner, else of the same operation."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[int, int]] = {}  # bytes and tokens

    def add(self, request: SeenRequest, generated: int) -> None:
        """Learn from a stream that has ended."""
        if request.streamed:
            for runner in (request.runner or "", ""):
                sent, tokens = self._sums.get((runner, request.operation), (0, 0))
                sums = sent + request.bytes_out, tokens + generated
                self._sums[runner, request.operation] = sums

    def a_token_of(self, request: SeenRequest) -> float:
        """Bytes."""
        for runner in (request.runner or "", ""):
            sent, tokens = self._sums.get((runner, request.operation), (0, 0))
            if sent and tokens:
                return sent / tokens
        return _EVENT_BYTES


class _Lately:
    """The tokens that runners have generated, and when they did."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}
        self._times: dict[str, list[tuple[float, float]]] = {}

    def add(self, runner: str, tokens: int, start: float, end: float) -> None:
        """Count a response."""
        self._tokens[runner] = self._tokens.get(runner, 0) + tokens
        self._times.setdefault(runner, []).append((start, end))

    def speeds(self) -> dict[str, float]:
        """Tokens per second, by runner."""
        covered = {runner: _covered(times) for runner, times in self._times.items()}
        return {runner: self._tokens[runner] / spent for runner, spent in covered.items() if spent}


def _covered(times: Iterable[tuple[float, float]]) -> float:
    """How long at least one of some spans of time lasted."""
    covered, until = 0.0, 0.0
    for start, end in sorted(times):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
