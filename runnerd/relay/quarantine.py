"""Requests that end engines, so that the third one of a kind does not end a third engine.

When an engine dies by its own fault (a crash, or a hang for which it was ended; not a signal from
outside, nor for want of memory), every request that it was working on has an equal share of the
blame: the only one has all of it.  Whose shares come to two deaths within ten
minutes is refused until the older one is forgotten.  So who repeats a poisonous request is stopped
after two engines, and who merely was there, like a probe that is always the same, is not.

Who left an engine that hangs is accused as well: that nobody waits any more does not make it work.
Only those count that left after its last sign of life.

A request is known by its bytes as the engine gets them, its model and configuration: an owner who
changes something is given another try.  While nothing is in quarantine this costs one comparison.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from runnerd import threads
from runnerd.errors import BackendFailure, HarmfulRequest
from runnerd.lru import Lru
from runnerd.relay.body import UNDECODABLE, UNSAID
from runnerd.relay.body_scan import LARGE
from runnerd.relay.engine import Buffer
from runnerd.runner import EngineHang
from runnerd.scheduler import RunnerKey
from runnerd.supervisor import died_by_itself
from runnerd.tasks import spawn

_WINDOW = 600.0  # seconds that a death is remembered
_DEATHS = 2 - 1e-6  # shares are fractions
_KINDS = 512
_ENGINES = 64
_SHARES = 16  # per kind: more than it takes
_LARGEST = 2**20  # bytes of a request that is remembered when its client leaves


@dataclass(slots=True)
class _Death:
    """One engine's end, and how many requests it was working on."""

    at: float
    reason: str
    requests: int = 0


Kind = tuple[RunnerKey, bytes]


class Quarantine:
    """Remembers who was there.  `clock` is in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: Lru[Kind, list[_Death]] = Lru(_KINDS)
        self._deaths: Lru[int, _Death] = Lru(_ENGINES)
        self._departed: Lru[int, deque[tuple[float, list[Kind]]]] = Lru(_ENGINES)

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def accuse(
        self, generation: int, key: RunnerKey, body: Sequence[Buffer], failure: BackendFailure
    ) -> None:
        """A request's engine, known by its generation, has failed while it worked on it."""
        if not died_by_itself(failure):
            return
        find = kinds_of if isinstance(failure, EngineHang) else _kind_alone
        if sum(map(len, body)) <= LARGE:
            self._blame(generation, find(key, body), failure)
        else:
            spawn(self._accuse_aside(generation, partial(find, key, body), failure), name="accuse")

    async def _accuse_aside(
        self, generation: int, find: Callable[[], list[Kind]], failure: BackendFailure
    ) -> None:
        """Accuse a large request, which is looked at in a thread."""
        self._blame(generation, await threads.run(find), failure)

    def left(self, generation: int, key: RunnerKey, body: Sequence[Buffer]) -> None:
        """The client of a request has left its engine, which may go on with it."""
        if sum(map(len, body)) > _LARGEST:
            return
        departed = self._departed.get(generation)
        if departed is None:
            departed = deque(maxlen=_SHARES)
            self._departed.note(generation, departed)
        departed.append((self._clock(), kinds_of(key, body)))

    def lost(self, generation: int, failure: BackendFailure) -> None:
        """An engine has failed: accuse who has left it while it hung."""
        departed = self._departed.pop(generation, ())
        if isinstance(failure, EngineHang):
            for left_at, kinds in departed:
                if left_at >= failure.silent_since:
                    self._blame(generation, kinds, failure)

    def _blame(self, generation: int, kinds: list[Kind], failure: BackendFailure) -> None:
        death = self._deaths.get(generation)
        if death is None:
            death = _Death(self._clock(), failure.message)
            self._deaths.note(generation, death)
        death.requests += 1
        for kind in kinds:
            self._kinds.note(kind, [*self._kinds.get(kind, ()), death][-_SHARES:])

    def check(self, key: RunnerKey, body: Iterable[Buffer]) -> None:
        """Raise errors.HarmfulRequest for a request that has ended too many engines."""
        self.check_kinds(kinds_of(key, body))

    def check_kinds(self, kinds: Iterable[Kind]) -> None:
        """The same of one whose kinds are known."""
        for kind in kinds:
            self._check(kind)

    def _check(self, kind: Kind) -> None:
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


def kinds_of(key: RunnerKey, body: Iterable[Buffer]) -> list[Kind]:
    """What a request is known by, from any thread."""
    return [_kind(key, body), *_shapes(key, body)]


def _kind_alone(key: RunnerKey, body: Iterable[Buffer]) -> list[Kind]:
    return [_kind(key, body)]


def _kind(key: RunnerKey, body: Iterable[Buffer]) -> Kind:
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


def _shapes(key: RunnerKey, body: Iterable[Buffer]) -> list[Kind]:
    """The shape of a request, by each member that has one; none where it says nothing of this."""
    try:
        shape = _decode_shape(b"".join(body))
    except UNDECODABLE:
        return []
    said = [(name, bytes(raw)) for name, raw in msgspec.structs.asdict(shape).items()]
    return [_kind(key, (name.encode(), b"\0", raw)) for name, raw in said if len(raw) > _SHORT]
