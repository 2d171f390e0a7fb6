"""Figures of requests that have ended.

A request costs an append; it is added up once some have come together, as usage is, and what the
engine told of tokens is read once for both.  What clients may choose (origins) or owners may bring
without end (models) has so many values at most; the rest is counted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from runnerd.observability.histogram import (
    EACH_TOKEN,
    FIRST_TOKEN,
    SECONDS,
    TOKENS,
    WAITS,
    Histogram,
)

_TOGETHER = 64  # requests that wait to be added up
_MOST_MODELS = 200
_MOST_ORIGINS = 20
_MOST_COUNTS = 5000  # of models, operations, origins, principals and statuses in all
OTHERS = "(others)"

_OPERATIONS = {"chat/completions": "chat", "completions": "text_completion"}
"""Operations that have another name in OpenTelemetry's conventions than in OpenAI's paths."""


def operation_name(operation: str) -> str:
    """An operation as OpenTelemetry's conventions call it."""
    return _OPERATIONS.get(operation, operation)


class Tokens(Protocol):
    """Tokens of one response; None: the engine did not say."""

    @property
    def prompt(self) -> int | None: ...
    @property
    def generated(self) -> int | None: ...
    @property
    def cached(self) -> int | None: ...


class TimedRequest(Protocol):
    """What took how long in a request, and what came of it; times in seconds."""

    @property
    def operation(self) -> str: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def waited(self) -> float | None: ...
    @property
    def first_byte(self) -> float | None: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def usage(self) -> Tokens: ...


class EndedRequest(TimedRequest, Protocol):
    """What is counted of a request."""

    @property
    def model(self) -> str: ...
    @property
    def origin(self) -> str | None: ...
    @property
    def status(self) -> int: ...
    @property
    def error(self) -> str | None: ...


class RequestKind(NamedTuple):
    """What requests are told apart by; `principal` is the kind of who asked, `model` an id."""

    model: str
    operation: str
    origin: str
    principal: str
    status: int


class ModelTimes:
    """What took how long, for one model and operation."""

    def __init__(self) -> None:
        self.durations: dict[str, Histogram] = {}  # by the status of what failed, "" for the rest
        self.first_token = Histogram(FIRST_TOKEN)
        self.each_token = Histogram(EACH_TOKEN)
        self.waits = Histogram(WAITS)
        self.prompt = Histogram(TOKENS)
        self.generated = Histogram(TOKENS)
        self.cached_tokens = 0

    def add(self, requests: Sequence[EndedRequest], status: int) -> None:
        """Count requests that have ended with this status."""
        self.waits.observe_all([each.waited for each in requests if each.waited is not None])
        answered = [] if status >= 400 else [each for each in requests if each.error is None]
        if answered:
            self._ended_as("").observe_all([each.duration or 0.0 for each in answered])
        if len(answered) < len(requests):
            failed = [each for each in requests if status >= 400 or each.error is not None]
            self._ended_as(str(status)).observe_all([each.duration or 0.0 for each in failed])
        for request in answered:
            self._add_tokens(request)

    def _ended_as(self, error: str) -> Histogram:
        found = self.durations.get(error)
        if found is None:
            found = self.durations[error] = Histogram(SECONDS)
        return found

    def _add_tokens(self, request: EndedRequest) -> None:
        """Count what a response took, as far as its engine has told that."""
        tokens, first = request.usage, request.first_byte
        if tokens.prompt is not None:
            self.prompt.observe(tokens.prompt)
        self.cached_tokens += tokens.cached or 0
        if tokens.generated is None:
            return
        self.generated.observe(tokens.generated)
        if request.streamed and first is not None:  # else its first byte is also its last
            self.first_token.observe(first)
            if tokens.generated > 1:
                duration = request.duration or 0.0
                self.each_token.observe((duration - first) / (tokens.generated - 1))


class RequestFigures:
    """Counts requests."""

    def __init__(self) -> None:
        self.counts: dict[RequestKind, int] = {}
        self.times: dict[tuple[str, str], ModelTimes] = {}  # by model and operation
        self._ended: list[tuple[str, EndedRequest]] = []
        self._models: set[str] = set()
        self._origins: set[str] = set()

    def ended(self, principal: str, request: EndedRequest) -> None:
        """Count a request that has ended, of a principal of this kind."""
        self._ended.append((principal, request))
        if len(self._ended) >= _TOGETHER:
            self.add_up()

    def add_up(self) -> None:
        """Have all in the figures that have ended so far."""
        ended, self._ended = self._ended, []
        alike: dict[tuple[str, str, str, str, int], list[EndedRequest]] = {}
        for principal, request in ended:
            origin = request.origin or ""
            kind = request.model, request.operation, origin, principal, request.status
            same = alike.get(kind)
            if same is None:
                alike[kind] = [request]
            else:
                same.append(request)
        for kind, requests in alike.items():
            self._count(RequestKind(*kind), requests)

    def _count(self, kind: RequestKind, requests: list[EndedRequest]) -> None:
        """Count requests of one kind."""
        model = _bounded(kind.model, self._models, _MOST_MODELS)
        operation, origin = kind.operation, _bounded(kind.origin, self._origins, _MOST_ORIGINS)
        kind = kind._replace(model=model, origin=origin)
        if kind not in self.counts and len(self.counts) >= _MOST_COUNTS:
            kind = RequestKind(OTHERS, OTHERS, OTHERS, OTHERS, kind.status)
        self.counts[kind] = self.counts.get(kind, 0) + len(requests)
        if not model:
            return  # they were refused before it was known what they want
        times = self.times.get((model, operation))
        if times is None:
            times = self.times[model, operation] = ModelTimes()
        times.add(requests, kind.status)


def _bounded(value: str, known: set[str], most: int) -> str:
    """A value where there are not too many different ones."""
    if value in known:
        return value
    if len(known) >= most:
        return OTHERS
    known.add(value)
    return value


def each_sorted(figures: RequestFigures) -> Sequence[tuple[tuple[str, str], ModelTimes]]:
    """The times of all models and operations, in order."""
    return sorted(figures.times.items())
