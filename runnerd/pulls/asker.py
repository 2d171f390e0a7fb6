"""Whose logins count for a pull or push.

| who asks | what counts, the first that there is |
|---|---|
| whoever sends a token with the request | that token |
| a user | its own login; the daemon's where it is shared, or where the user is an owner |
| the owner | the daemon's |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runnerd.access.logins import Login
from runnerd.pulls.credentials import Credentials

FindLogin = Callable[[str, str], Login | None]
"""The login of the user with this id at a host[:port]."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: an owner or not, and a user or not."""

    is_owner: bool = False
    user_id: str | None = None


OWNER = Asker(is_owner=True)
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
