"""How long an engine takes for a token: whether a short response is worth a stream to it.

The relay asks for streams, because an engine notices within a token that the client of one has
left, and else only when the response is complete.  A stream costs the engine an event per token and
both sides a connection.  For a response that is complete before anybody could have left it is not
worth that.
"""

from __future__ import annotations

from runnerd.relay import usage

_UNNOTICED = 0.05  # seconds that an engine may work on for a client that has left
_READ = 8  # of so many responses, one is read for its tokens: to read each costs too much


class TokenTime:
    """The seconds that an engine takes for a token of a response, its prompt included.

    It is unknown (None) until some responses have been seen.
    """

    __slots__ = ("_unread", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._unread = 0

    def responded(self, seconds: float, counts: bytes | None) -> None:
        """A whole response took an engine so long; `counts` is `usage.excerpt` of it.

        What is slower counts at once, what is quicker by and by.
        """
        self._unread += 1
        if self._unread < _READ and seconds <= _UNNOTICED:
            return
        self._unread = 0
        told = None if counts is None else usage.read(counts)
        if told is None or not told.generated:
            return
        each, known = seconds / told.generated, self.seconds
        self.seconds = each if known is None or each > known else (3 * known + each) / 4

    def is_short(self, tokens: int) -> bool:
        """Whether a response of so many tokens at most is complete before anybody could leave."""
        return self.seconds is not None and tokens * self.seconds <= _UNNOTICED
