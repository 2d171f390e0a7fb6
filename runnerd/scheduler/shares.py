"""How the time is shared between models that have to make room for each other.

This is start-time fair queueing over models, with a time quantum:

- A model that was loaded keeps its room for one *quantum*, in use or not: `turn` seconds, or twice
  the longest load among those who contend for room if that is longer, so that swaps cost a third
  of the time at most.  The quantum is the same for all of them: one that loads slowly gets no more
  time than the others, only the swaps are rarer.
- Each model has an *account*: the seconds for which it held room that somebody else waited for.
  After its quantum a model gives way to whoever has had no more than it has had; to one that is
  ahead of it (a response that took long cannot be interrupted) only once it has caught up.
- Accounts matter among those who contend now.  Whoever has been away comes back at the *level*,
  what the one who had least has had, and nobody gets further than `BOUND` quanta ahead of that.
  Debts are forgiven in time: while nobody waits for room the level rises with the clock, and who
  waits is forgiven a sixteenth of that, so that no number of newcomers passes it for ever.
- Within its quantum a model that nobody uses keeps its room only as long as its clients may be
  expected back (`Returns`).

So a model that is waited for gets its room although others never stop, and closed loops share the
time evenly from whatever was before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

BOUND = 4.0  # quanta that an account is ahead of the level at most
_QUANTUM_LOADS = 2.0
_SHORTEST = 0.5  # of a turn: a quantum among many
_PATIENCE_SHARE = 8.0  # the default of a quantum stays below this part of the queue's timeout
_FORGIVEN = 1 / 16  # of the time that somebody waits
_SETTLED = 1e-6  # seconds; less than that between two accounts is the arithmetic's
_HOPEFUL = 0.75  # of a load: above, more of the latest pauses were absences than not
_SPREADS = 4.0  # how far a pause may be from the usual one, as in TCP's timeout (RFC 6298)
_CLOCK = 0.25  # of a load: what that is at least


@dataclass(slots=True)
class Returns:
    """How soon a model's clients come back when they have left it unused.

    A pause counts as a load's time at most: to wait longer than that is worse than to load again.
    So one absence weighs no more than one quick return, however long it was.
    """

    usual: float | None = None
    spread: float = 0.0

    def came(self, pause: float, load_seconds: float) -> None:
        """Somebody came back after `pause` seconds, infinity for who was away."""
        sample = min(pause, load_seconds)
        if self.usual is None:
            self.usual, self.spread = sample, sample / 2
        else:
            self.spread = (self.spread + abs(sample - self.usual)) / 2
            self.usual = (self.usual + sample) / 2

    def worth_waiting(self, load_seconds: float) -> float:
        """Return how many seconds an unused model had better be left to its clients."""
        if self.usual is None or self.usual >= _HOPEFUL * load_seconds:
            return 0.0
        allowance = max(_SPREADS * self.spread, _CLOCK * load_seconds)
        return min(load_seconds, self.usual + allowance)


@dataclass(slots=True, eq=False)
class Account:
    """The time for which one model has had room, in seconds.

    Accounts are compared with each other and mean nothing alone.  `evicted_at` is when the model
    last made room for another one.
    """

    seconds: float = 0.0
    evicted_at: float | None = None


class Shares:
    """Keeps the accounts of all models.

    `turn` is the shortest quantum, `quantum` the one of this moment.  `loaded_at` is when any model
    was loaded last.
    """

    def __init__(self, turn: float, queue_timeout: float) -> None:
        self.turn = turn
        self.queue_timeout = queue_timeout
        self.quantum = turn
        self.loaded_at = 0.0
        self._level = 0.0
        self._settled_at = 0.0
        self._holding: Collection[Account] = ()
        self._waiting: Collection[Account] = ()

    def settle(self, now: float) -> None:
        """Charge what has passed to those who held room that others waited for."""
        seconds = max(0.0, now - self._settled_at)
        self._settled_at = now
        contending = [*self._holding, *self._waiting]
        if not contending:
            self._level += seconds
            return
        for account in self._holding:
            account.seconds += seconds
        self._level = max(self._level, min(account.seconds for account in contending))
        for account in self._holding:
            self._bound(account)
        for account in self._waiting:
            if account.seconds > self._level:
                account.seconds = max(self._level, account.seconds - _FORGIVEN * seconds)

    def contend(
        self,
        holding: Collection[Account],
        waiting: Collection[Account],
    ) -> None:
        """Say who holds room that others wait for, and who waits, from now on."""
        self._holding, self._waiting = holding, waiting

    def choose_quantum(self, contenders: int, longest_load: float) -> None:
        """Choose the quantum of so many models, of which the slowest takes so long to load.

        Of more than two each gets less, so that a round of them takes hardly longer.
        """
        shortest = self.turn * max(_SHORTEST, 2 / max(2, contenders))
        self.quantum = max(shortest, self.worth_loading(longest_load))

    def worth_loading(self, load_seconds: float) -> float:
        """Return the shortest quantum for which such a load is not too dear.

        One that takes minutes is no reason to let others wait until they give up.
        """
        return min(_QUANTUM_LOADS * load_seconds, self.queue_timeout / _PATIENCE_SHARE)

    def place(self, account: Account) -> None:
        """Whoever begins to contend stands no better than the one who had least until now."""
        account.seconds = max(account.seconds, self._level)
        self._bound(account)

    def keep_place(self, account: Account) -> None:
        """Whoever was sent away and came back at once has not been away: it is owed its time."""
        account.seconds = max(account.seconds, self._level - BOUND * self.quantum)
        self._bound(account)

    def lead(self, account: Account) -> int:
        """Return how many half quanta an account is ahead of the level."""
        if not self.quantum:
            return 0
        return int(max(0.0, account.seconds - self._level + _SETTLED) / (self.quantum / 2))

    def catches_up_at(self, holder: Account, waiting: Account, now: float) -> float:
        """Return when the holder has had as much as the one who waits, if it goes on."""
        lead = waiting.seconds - holder.seconds
        return now + lead / (1 + _FORGIVEN) if lead > _SETTLED else now

    def _bound(self, account: Account) -> None:
        account.seconds = min(account.seconds, self._level + BOUND * self.quantum)
