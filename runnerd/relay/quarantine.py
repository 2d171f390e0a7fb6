"""Requests that end engines, so that the third one of a kind does not end a third engine.

When an engine dies by its own fault (a crash, or a hang for which it was ended; not a signal from
outside, nor for want of memory), every request that it was working on has an equal share of the
blame: the only one has all of it.  Whose shares come to two deaths within ten
minutes is refused until the older one is forgotten.  So who repeats a poisonous request is stopped
after two engines, and who merely was there, like a probe that is always the same, is not.

A request is known by its bytes as the engine gets them, its model and configuration: an owner who
changes something is given another try.  While nothing is in quarantine this costs one comparison.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from runnerd.errors import BackendFailure, HarmfulRequest
from runnerd.lru import Lru
from runnerd.relay.body import UNDECODABLE, UNSAID
from runnerd.relay.engine import Buffer
from runnerd.runner import EngineHang
from runnerd.scheduler import RunnerKey
from runnerd.supervisor import died_by_itself

_WINDOW = 600.0  # seconds that a death is remembered
_DEATHS = 2 - 1e-6  # shares are fractions
_KINDS = 512
_ENGINES = 64
_SHARES = 16  # per kind: more than it takes


@dataclass(slots=True)
class _Death:
    """One engine's end, and how many requests it was working on."""

    at: float
    reason: str
    requests: int = 0


_Kind = tuple[RunnerKey, bytes]


class Quarantine:
    """Remembers who was there.  `clock` is in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: Lru[_Kind, list[_Death]] = Lru(_KINDS)
        self._deaths: Lru[int, _Death] = Lru(_ENGINES)

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def accuse(
        self, generation: int, key: RunnerKey, body: Iterable[Buffer], failure: BackendFailure
    ) -> None:
        """A request's engine, known by its generation, has failed while it worked on it."""
        if not died_by_itself(failure):
            return
        death = self._deaths.get(generation)
        if death is None:
            death = _Death(self._clock(), failure.message)
            self._deaths.note(generation, death)
        death.requests += 1
        kinds = [_kind(key, body)]
        if isinstance(failure, EngineHang):
            kinds += _shapes(key, body)
        for kind in kinds:
            self._kinds.note(kind, [*self._kinds.get(kind, ()), death][-_SHARES:])

    def check(self, key: RunnerKey, body: Iterable[Buffer]) -> None:
        """Raise errors.HarmfulRequest for a request that has ended too many engines."""
        for kind in (_kind(key, body), *_shapes(key, body)):
            self._check(kind)

    def _check(self, kind: _Kind) -> None:
        now = self._clock()
        shares = [death for death in self._kinds.get(kind, ()) if death.at > now - _WINDOW]
        if not shares:
            self._kinds.pop(kind, None)
            return
        self._kinds[kind] = shares
        if sum(1 / death.requests for death in shares) < _DEATHS:
            return
        reason = shares[-1].reason.partition("\n")[0]
        raise HarmfulRequest(
            "this request has ended the model's engine before and is not tried again for a while; "
            f"change the request, or the model's configuration. The last time: {reason}",
            retry_after=shares[0].at + _WINDOW - now,
            should_retry=False,
        )


def _kind(key: RunnerKey, body: Iterable[Buffer]) -> _Kind:
    digest = hashlib.blake2b(digest_size=16)
    for piece in body:
        digest.update(piece)
    return key, digest.digest()


class _Shape(msgspec.Struct):
    """What decides how an engine works on a request, whatever its prompt is."""

    grammar: msgspec.Raw = UNSAID
    json_schema: msgspec.Raw = UNSAID
    response_format: msgspec.Raw = UNSAID
    chat_template: msgspec.Raw = UNSAID
    chat_template_kwargs: msgspec.Raw = UNSAID
    dry_sequence_breakers: msgspec.Raw = UNSAID


_decode_shape = msgspec.json.Decoder(_Shape).decode
_SHORT = 40  # bytes that say nothing: null, {"type":"text"}, {"enable_thinking":false}


def _shapes(key: RunnerKey, body: Iterable[Buffer]) -> list[_Kind]:
    """The shape of a request, by each member that has one; none where it says nothing of this."""
    try:
        shape = _decode_shape(b"".join(body))
    except UNDECODABLE:
        return []
    said = [(name, bytes(raw)) for name, raw in msgspec.structs.asdict(shape).items()]
    return [_kind(key, (name.encode(), b"\0", raw)) for name, raw in said if len(raw) > _SHORT]
