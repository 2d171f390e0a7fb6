"""Whether a request's body comes with the least rate, measured over one stretch of time after the
other.

A limit for the gap between two bytes would let a body last for ever, and so would one for the mean
rate: whoever has sent much at once may trickle for long.
"""

from __future__ import annotations

from runnerd.limit_settings import Limits
from runnerd.relay.messages import Request


class BodyPace:
    """Measures one request at a time, from `begin` on: for `body_timeout`, and then anew."""

    __slots__ = ("_limits", "_received", "request")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._received = 0  # when the stretch began
        self.request: Request | None = None

    def begin(self, request: Request) -> float:
        """Begin a stretch; return how many seconds it lasts."""
        self.request, self._received = request, request.received
        return self._limits.body_timeout

    @property
    def kept(self) -> bool:
        """Whether enough has come since the stretch began, which is over."""
        if self.request is None:
            return False
        least = max(1, self._limits.body_rate * self._limits.body_timeout)
        return self.request.received - self._received >= least

    def stop(self) -> None:
        """Something else is waited for."""
        self.request = None
