"""What takes longer than the event loop can spare, and is done beside it.

How long it takes to look at a schema or a grammar is known only once it was looked at.  So whoever
looks at one counts what that takes, and raises `TakesLonger` where it becomes too much for an event
loop, which others wait for; `intake` has the same done in a thread then.  What was found is
remembered by what it was found of, so the next request with it is judged at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

R = TypeVar("R")

_AT_ONCE = 2048  # bytes of a text that an event loop looks at closely
_REMEMBERED = 128 * 2**10  # bytes of a text of which it is kept what was found, at most


class TakesLonger(Exception):
    """An event loop has no time for this; a thread has."""


def is_on_loop() -> bool:
    """Whether an event loop waits for what is done here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def at_once(most: int, spared: int) -> int:
    """How much is done here of something of which `most` is done anywhere: on an event loop no more
    than it can spare.
    """
    return min(most, spared) if is_on_loop() else most


def check_spent(spent: int, spared: int) -> None:
    """Raise TakesLonger on an event loop that has `spent` all that it can spare."""
    if spent >= spared and is_on_loop():
        raise TakesLonger


def remembered(look: Callable[[str, bytes], R]) -> Callable[[str, bytes], R]:
    """What `look` finds of a member, by its name and as JSON: remembered, and on an event loop
    looked for only where the member is short.  Raises TakesLonger, and what `look` raises.
    """

    def found(name: str, text: bytes) -> R:
        if len(text) > _AT_ONCE and is_on_loop():
            raise TakesLonger
        return look(name, text)

    known = lru_cache(maxsize=64)(found)
    return lambda name, text: (known if len(text) <= _REMEMBERED else found)(name, text)
