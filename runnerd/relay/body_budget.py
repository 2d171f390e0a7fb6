"""The memory for request bodies, and who may have how much of it.

Three rules, so that one stranger does not take what all share:

- All bodies together stay within `buffered_bytes`.
- TCP leaves a reserve to the Unix socket, with room for one whole body where the limits allow that:
  the owner can always send a command.
- A principal holds no more than what is free (a dynamic threshold, as switches share their packet
  memory): one alone has at most half, two have a third each, and something is always left for the
  next one.  One whole body is never too much.

Small bodies are counted, but nobody's: whose they are would cost each small request more than it is
worth, and all of them together are no more than the connections allow.
"""

from __future__ import annotations

from runnerd.limit_settings import Limits

SMALL = 64 * 2**10
"""Up to here a body is nobody's."""


class BodyBudget:
    """Counts the bytes of bodies in memory, in all (`held`) and per principal."""

    def __init__(self, limits: Limits) -> None:
        self._body_bytes = limits.body_bytes
        whole = limits.buffered_bytes
        reserve = max(0, min(limits.body_bytes, (whole - limits.body_bytes) // 2))
        self._room = {True: whole, False: whole - reserve}  # by: came over a Unix socket
        self.held = 0
        self._shares: dict[tuple[str, bool], int] = {}  # TCP's apart: it is no owner's command

    def hold(self, size: int, unix: bool) -> bool:
        """Account for some bytes; False when the budget is spent."""
        if self.held + size > self._room[unix]:
            return False
        self.held += size
        return True

    def let_go(self, size: int) -> None:
        """They are in memory no more."""
        self.held -= size

    def claim(self, principal: str, size: int, unix: bool) -> bool:
        """Let bytes that are held, or about to be, count as a principal's; False when it has as
        much as it may.
        """
        own = self._shares.get((principal, unix), 0) + size
        if own > max(self._body_bytes, self._room[unix] - self.held):
            return False
        self._shares[principal, unix] = own
        return True

    def give_back(self, principal: str, size: int, unix: bool) -> None:
        """Bytes that were claimed are let go."""
        left = self._shares.get((principal, unix), 0) - size
        if left > 0:
            self._shares[principal, unix] = left
        else:
            self._shares.pop((principal, unix), None)
