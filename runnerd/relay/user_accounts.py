"""What users' requests count for: their limits are held before a request is planned.

Only users with a limit cost anything here.  Tokens are what the engine has told of a response; the
counts are read when that user asks next, so that no response waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runnerd import threads
from runnerd.access import Policy, Principal
from runnerd.access.limits import Limiter
from runnerd.access.users import NO_LIMITS
from runnerd.relay import usage
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.token_reserve import Reserve, none_left, within


class CountedRequest:
    """One request of a user with limits, until it has ended."""

    __slots__ = ("_accounts", "_reserve", "_tokens_per_day", "_user")

    def __init__(self, accounts: UserAccounts, user: str, tokens_per_day: int | None) -> None:
        self._accounts = accounts
        self._user = user
        self._tokens_per_day = tokens_per_day
        self._reserve: Reserve | None = None

    def reserve(self, plan: Plan) -> Plan:
        """The plan, with no more tokens than are left of the day, which are reserved for it.

        Raises errors.LimitReached.
        """
        if self._tokens_per_day is None or self._reserve is not None:
            return plan
        left = self._accounts.left(self._user, self._tokens_per_day)
        plan, self._reserve = within(plan, left)
        self._accounts.reserve(self._user, self._reserve.tokens)
        return plan

    async def reserve_aside(self, plan: Plan) -> Plan:
        """The same for a large plan, which is looked at in a thread."""
        if self._tokens_per_day is None or self._reserve is not None:
            return plan
        left = self._accounts.left(self._user, self._tokens_per_day)
        found, reserve = await threads.run(within, plan, left)
        if reserve.tokens > self._accounts.left(self._user, self._tokens_per_day):
            raise none_left(reserve.prompt, 0)  # others have come meanwhile
        self._reserve = reserve
        self._accounts.reserve(self._user, reserve.tokens)
        return found

    def ended(self, record: RequestRecord) -> None:
        """It is over, however it went; to be called once."""
        counted, reserve = self._tokens_per_day is not None, self._reserve
        self._accounts.ended(
            self._user,
            record.counts if counted else None,
            reserved=0 if reserve is None else reserve.tokens,
        )
        if counted and reserve is not None and record.counts is None and record.left:
            self._accounts.spend(self._user, reserve.spent_by_who_left(record))


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
        if limits.tokens_per_day is not None:
            self._read(user, now)
        self._limiter.begin(user, limits, now)
        return CountedRequest(self, user, limits.tokens_per_day)

    def left(self, user: str, tokens_per_day: int) -> int:
        """How many tokens a user may take today, beside what is used and reserved."""
        now = self._clock()
        self._read(user, now)
        return self._limiter.left(user, tokens_per_day, now)

    def reserve(self, user: str, tokens: int) -> None:
        """Keep tokens for a request that is under way."""
        self._limiter.reserve(user, tokens)

    def spend(self, user: str, tokens: int) -> None:
        """Count tokens that no engine has told."""
        self._limiter.spend(user, tokens, self._clock())

    def ended(self, user: str, counts: bytes | None, *, reserved: int = 0) -> None:
        """A request has ended, of which the engine has told these counts, and for which so many
        tokens were reserved.
        """
        if counts is not None and reserved:
            # Before they are given back, so that nobody gets the tokens in between.
            self._unread.setdefault(user, []).append(counts)
            self._read(user, self._clock())
            counts = None
        self._limiter.end(user, self._clock(), reserved=reserved)
        if counts is not None:
            self._unread.setdefault(user, []).append(counts)

    def _read(self, user: str, now: float) -> None:
        for counts in self._unread.pop(user, ()):
            told = usage.read(counts)
            if told is not None:
                self._limiter.spend(user, (told.prompt or 0) + (told.generated or 0), now)
