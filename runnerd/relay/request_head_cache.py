"""Request heads that were read and checked before: clients send the same one over and over.

Two requests of one program differ in their bodies and in the digits of Content-Length, seldom in
anything else of the head.  What llhttp and the checks made of a head is therefore remembered under
its bytes without those digits, and the same bytes at the start of a message mean the same again.
Only heads that passed every check are remembered, per kind of listener; what may change between
two requests (permissions, the model) is not part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runnerd.relay.messages import Request
from runnerd.relay.routes import Route

_DIGITS = 9
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,%d})\r\n" % _DIGITS, re.IGNORECASE)
_END = b"\r\n\r\n"
_REMEMBERED = 256
_LONGEST = 4096
# Heads with these would only push out others.
_NEVER_THE_SAME = b"x-request-id", b"traceparent", b"x-on-behalf-of"


@dataclass(frozen=True, slots=True)
class CachedHead:
    """A head that passed, and the inference route that it asks for.

    `before` and `after` are its bytes on both sides of Content-Length's digits.
    """

    request: Request
    route: Route
    before: bytes
    after: bytes

    def body_start(self, data: bytes) -> int:
        """Return where the body starts in `data` if that is one message with this head, else 0."""
        if not data.startswith(self.before):
            return 0
        begin = len(self.before)
        end = data.find(b"\r", begin, begin + _DIGITS + 1)
        if end < 0 or not data.startswith(self.after, end):
            return 0
        digits, start = data[begin:end], end + len(self.after)
        return start if digits.isdigit() and start + int(digits) == len(data) else 0


class RequestHeadCache:
    """The heads that came through one kind of listener."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bytes], CachedHead] = {}
        self._latest: CachedHead | None = None  # mostly the next one as well

    def find(self, data: bytes) -> tuple[CachedHead, int] | None:
        """Return the known head of a message that lies whole in `data` and where its body starts.

        None when the head is not known, or `data` is not exactly one message.
        """
        latest = self._latest
        if latest is not None and (start := latest.body_start(data)):
            return latest, start
        sides = _sides(data)
        known = None if sides is None else self._heads.get(sides)
        if known is None:
            return None
        self._latest = known
        return known, known.body_start(data)

    def forget(self) -> None:
        """Let every head be checked anew."""
        self._heads.clear()
        self._latest = None

    def remember(self, data: bytes, request: Request, route: Route) -> None:
        """Keep a head that has passed every check; `data` is one message, whole."""
        if request.expects_continue or not request.keep_alive:
            return
        if any(name in _NEVER_THE_SAME for name, _ in request.headers):
            return
        if (sides := _sides(data)) is not None:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[sides] = CachedHead(request, route, *sides)


def _sides(data: bytes) -> tuple[bytes, bytes] | None:
    """Return a head on both sides of Content-Length's digits; None: not exactly one message."""
    end = data.find(_END, 0, _LONGEST) + 4
    if end < 4 or (length := _LENGTH.search(data, 0, end - 2)) is None:
        return None
    if end + int(length[1]) != len(data):
        return None
    return data[: length.start(1)], data[length.end(1) : end]
