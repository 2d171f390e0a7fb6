"""What users' requests count for: their limits are held before a request is planned.

Only users with a limit cost anything here.  Tokens are what the engine has told of a response; the
counts are read when that user asks next, so that no response waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runnerd.access import Policy, Principal
from runnerd.access.limits import Limiter
from runnerd.access.users import NO_LIMITS
from runnerd.relay import usage
from runnerd.relay.records import RequestRecord


class CountedRequest:
    """One request of a user with limits, until it has ended."""

    __slots__ = ("_accounts", "_counts_tokens", "_user")

    def __init__(self, accounts: UserAccounts, user: str, *, counts_tokens: bool) -> None:
        self._accounts = accounts
        self._user = user
        self._counts_tokens = counts_tokens

    def ended(self, record: RequestRecord) -> None:
        """It is over, however it went; to be called once."""
        self._accounts.ended(self._user, record.counts if self._counts_tokens else None)


class UserAccounts:
    """Counts for all users.  `clock` is Unix time in seconds."""

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._limiter = Limiter()
        self._unread: dict[str, list[bytes]] = {}

    def spent(self, tokens: Mapping[str, int]) -> None:
        """Go on from the tokens that principals, by id, had used today before the daemon began."""
        for user, count in tokens.items():
            self._limiter.spend(user, count, self._clock())

    def begin(self, principal: Principal) -> CountedRequest | None:
        """Count a request; None where there is nothing to count.

        Raises errors.LimitReached, Unauthorized.
        """
        limits = self._policy.limits(principal)
        if limits is NO_LIMITS:
            return None
        user, now = principal.id, self._clock()
        counts_tokens = limits.tokens_per_day is not None
        if counts_tokens:
            self._read(user, now)
        self._limiter.begin(user, limits, now)
        return CountedRequest(self, user, counts_tokens=counts_tokens)

    def ended(self, user: str, counts: bytes | None) -> None:
        """A request has ended, of which the engine has told these counts."""
        self._limiter.end(user, self._clock())
        if counts is not None:
            self._unread.setdefault(user, []).append(counts)

    def _read(self, user: str, now: float) -> None:
        for counts in self._unread.pop(user, ()):
            told = usage.read(counts)
            if told is not None:
                self._limiter.spend(user, (told.prompt or 0) + (told.generated or 0), now)
