"""Who asks for a pull or push: whose it is, and whose logins count.

| who asks | what counts, the first that there is |
|---|---|
| whoever sends a token with the request | that token |
| a user | its own login; the daemon's where it is shared, or where the user is an owner |
| the owner | the daemon's |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runnerd.access import NOBODY, Policy, Principal, by_any_key
from runnerd.access.logins import Login
from runnerd.pulls.credentials import Credentials

FindLogin = Callable[[str, str], Login | None]
"""The login of the user with this id at a host[:port]."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and whether that is an owner.  `accepted_for` is the user whose request an owner
    has accepted, and who gets what is pulled.
    """

    principal: Principal = NOBODY
    is_owner: bool = False
    accepted_for: Principal | None = None

    @classmethod
    def of(cls, principal: Principal, policy: Policy) -> Asker:
        """A principal as the policy has it; what it asks for goes on when its key is replaced.

        Raises errors.Unauthorized.
        """
        return cls(by_any_key(principal), policy.sees_everything(principal))

    @property
    def user_id(self) -> str | None:
        """The id of the user who asks, None for who is none."""
        return self.principal.user_id


STRANGER = Asker()


class OwnLogin:
    """A user's login as `authorization` asks for credentials."""

    command = "runnerd login"

    def __init__(self, login: Login) -> None:
        self._login = login

    async def find(self, registry: str) -> Credentials | None:
        """It is for one registry alone."""
        if registry != self._login.host:
            return None
        return Credentials(self._login.username, self._login.secret)


def no_login(user_id: str, host: str) -> Login | None:
    """There are none."""
    return None
