"""Users, their keys, and what they were allowed.

A key is 32 random bytes in base64url.  Only its SHA-256 is kept: a secret of that length cannot be
guessed, so a slow hash would protect nothing and cost every request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from runnerd.access.permissions import Permission

DEFAULT_PERMISSIONS = frozenset({Permission.SESSION, Permission.VIEW_LLMS})
"""What a new user may where nothing else is said: see the models and use them."""


@dataclass(frozen=True, slots=True)
class UserLimits:
    """How much a user may do; None is without a limit of its own.

    `context` is in tokens; of two requests that wait, that of the higher `priority` comes first.
    """

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    context: int | None = None
    priority: int = 0


NO_LIMITS = UserLimits()


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a name and keys.

    `id` is a UUID and never changes; `models` are patterns of references (`ai/*`), and none means
    every model.  `expires` is Unix time in seconds, None for never.  A user that is `disabled` has
    keys that do not count.
    """

    id: str
    name: str
    permissions: frozenset[Permission] = DEFAULT_PERMISSIONS
    models: tuple[str, ...] = ()
    limits: UserLimits = NO_LIMITS
    expires: float | None = None
    disabled: bool = False
    created: float = 0.0

    def ended(self, now: float) -> bool:
        """Whether the user's keys do not count at the moment `now`."""
        return self.disabled or (self.expires is not None and self.expires <= now)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a user, without the secret: `digest` is `key_digest(secret)`.

    `created` and `expires` are Unix time in seconds; `label` says what it is for.
    """

    id: str
    user_id: str
    digest: str = field(repr=False)
    created: float
    expires: float | None = None
    label: str = ""

    def ended(self, now: float) -> bool:
        """Whether the key does not count any more at the moment `now`."""
        return self.expires is not None and self.expires <= now


def key_digest(secret: str) -> str:
    """The uppercase hexadecimal SHA-256 of a key, which is what is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest().upper()
