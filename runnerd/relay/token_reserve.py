"""What a request may take of a user's tokens of a day, reserved while it is under way.

Engines tell tokens at a response's end.  Until then a request counts with those of its text, a
token for each four bytes, and with the most that its response may have: what it says itself, else
4,096 or what is left of the day.  So requests at one time go beyond the limit by no more than these
estimates are wrong.  A request that says no limit gets that one.

Of a client that has left no engine tells anything: its request counts with what the engine can have
generated meanwhile.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from runnerd.errors import LimitReached
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.request_rewrites.context_limit import estimated_tokens

_A_WHILE = 30.0  # seconds until some of what was reserved may be free again
_UNSAID = 4096  # tokens of a response of which nothing was said
_EVENT_BYTES = 150  # of a stream, for a token: no API's events have fewer


class Reserve(NamedTuple):
    """Tokens of a request's text, of its response at most, and the seconds that one takes, if that
    is known.
    """

    prompt: int
    response: int
    seconds: float | None

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt + self.response

    def spent_by_who_left(self, record: RequestRecord) -> int:
        """The tokens of a request whose client has left before its end."""
        if record.waited is None or record.duration is None:
            return 0  # no engine has seen it
        worked = max(0.0, record.duration - record.waited)
        if self.seconds is not None:
            generated = math.ceil(worked / self.seconds)
        elif record.streamed:
            generated = record.bytes_out // _EVENT_BYTES
        else:
            generated = self.response
        return self.prompt + min(generated, self.response)


def within(plan: Plan, left: int) -> tuple[Plan, Reserve]:
    """A plan that takes no more than what is `left` of a day's tokens, and what it may take.

    Raises errors.LimitReached where not even its text fits.
    """
    if plan.preload_only or plan.immediate is not None:
        return plan, Reserve(0, 0, None)
    prompt, said, times = estimated_tokens(plan.body, plan.operation.engine_path)
    if prompt >= left:
        raise none_left(prompt, left)
    if said is None:  # it has no response that could be limited
        return plan, Reserve(prompt, 0, None)
    each = max(1, min(said if said >= 0 else _UNSAID, (left - prompt) // times))
    seconds = None if plan.token_time is None else plan.token_time.seconds
    if said != each:
        plan = plan.limited(prompt + each)
    return plan, Reserve(prompt, each * times, seconds)


def none_left(prompt: int, left: int) -> LimitReached:
    """A request of so many tokens is more than what is left."""
    return LimitReached(
        f"the request has about {prompt} tokens, and {max(0, left)} are left of your limit"
        " tokens_per_day beside what your other requests may still take",
        limit="tokens_per_day",
        retry_after=_A_WHILE,
    )
