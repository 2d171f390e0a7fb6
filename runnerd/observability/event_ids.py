"""Ids of events, from which only the daemon can tell how many there were.

Events have numbers, those of all users together.  Who saw them could count what others do, so an id
is the number and some chance, encrypted: a Feistel network over 64 bits, whose rounds are keyed
hashes.  The key lives as long as the daemon.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets

_ROUNDS = 4
_CHANCE = 16  # bits, lest two ids of one event are the same
_HALF = 0xFFFFFFFF
_FORM = re.compile("([0-9a-f]{8})-([0-9a-f]{16})", re.ASCII)


class EventIds:
    """Makes ids of numbers, and numbers of ids; those of an earlier daemon are none."""

    def __init__(self) -> None:
        self._run = os.urandom(4).hex()
        self._key = os.urandom(32)

    def id_of(self, number: int) -> str:
        """An id of the event with a number."""
        block = number << _CHANCE | secrets.randbits(_CHANCE)
        left, right = block >> 32, block & _HALF
        for round in range(_ROUNDS):
            left, right = right, left ^ self._mixed(round, right)
        return f"{self._run}-{left << 32 | right:016x}"

    def number_of(self, id: str) -> int | None:
        """The number that is in an id; None where this daemon has not made it."""
        form = _FORM.fullmatch(id)
        if form is None or form[1] != self._run:
            return None
        block = int(form[2], 16)
        left, right = block >> 32, block & _HALF
        for round in reversed(range(_ROUNDS)):
            left, right = right ^ self._mixed(round, left), left
        return (left << 32 | right) >> _CHANCE

    def _mixed(self, round: int, half: int) -> int:
        data = round.to_bytes(1) + half.to_bytes(4)
        return int.from_bytes(hashlib.blake2s(data, key=self._key, digest_size=4).digest())
