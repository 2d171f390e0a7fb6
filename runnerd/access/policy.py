"""Whether a principal may do something.  Pure, and asked in one place for each kind of route:

| what | asked by |
|---|---|
| inference | `relay/intake`, before the model is looked up, and of what it turns out to be |
| the control plane | the middleware of `api/app`, before the handler sees the request |
| a runner's own socket | `backends/guard`, before anything reaches the engine |

Who may do what:

| principal | may |
|---|---|
| OWNER | everything |
| USER | what its permissions allow (`permissions.NEEDED`), on the models of its grants |
| LOCAL, ANONYMOUS with an address | see models and use them |
| NOBODY, who is not let in without a key | what is for anybody (`permissions.FOR_ANYBODY`) |

A user's key and permissions are looked up at each question in the directory as it is then, so that
neither a connection nor a remembered head nor a stream keeps alive what was revoked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from runnerd.access.actions import Action
from runnerd.access.credentials import has_form_of_key
from runnerd.access.directory import Directory
from runnerd.access.model_patterns import Patterns
from runnerd.access.permissions import FOR_ANYBODY, NEEDED, WITHOUT_A_KEY, Permission
from runnerd.access.principals import Principal, PrincipalKind
from runnerd.access.users import NO_LIMITS, Key, User, UserLimits
from runnerd.errors import PermissionMissing, Unauthorized


class Policy(Protocol):
    """Decides who may do what."""

    def authenticate(self, secret: str) -> Principal | None:
        """Who has a key, None for what is no key at all.  Raises errors.Unauthorized."""
        ...

    def check(self, principal: Principal, action: Action) -> None:
        """Raise errors.Unauthorized or PermissionMissing unless `principal` may do `action`."""
        ...

    def grants(self, principal: Principal) -> Patterns | None:
        """The patterns of model names that there are for a principal; None: every model."""
        ...

    def rights(self, principal: Principal) -> object:
        """What a principal may do: the same object for as long as that stays as it is.

        Raises errors.Unauthorized.
        """
        ...

    def sees_everything(self, principal: Principal) -> bool:
        """Whether what belongs to others is shown to a principal, too."""
        ...

    def limits(self, principal: Principal) -> UserLimits:
        """How much a principal may do."""
        ...


class Rules:
    """The policy.  `clock` is Unix time in seconds; `directory` is replaced as users change."""

    def __init__(self, clock: Callable[[], float], directory: Directory = Directory.EMPTY) -> None:
        self._clock: Final = clock
        self._directory = directory
        self._known: dict[str, _Standing] = {}  # by key; by principal for any of its keys

    @property
    def directory(self) -> Directory:
        """The users and keys that count now."""
        return self._directory

    def adopt(self, directory: Directory) -> None:
        """Go by other users and keys from now on."""
        self._directory = directory
        self._known.clear()

    def authenticate(self, secret: str) -> Principal | None:
        """Who has a key; None where what was shown is the placeholder of a client that has to send
        something: it counts for nothing until a user who may do something has a key.

        Raises errors.Unauthorized.
        """
        directory = self._directory
        if not directory.has_members and not has_form_of_key(secret):
            return None
        try:
            return directory.authenticate(secret, self._clock())
        except Unauthorized as error:
            if has_form_of_key(secret):
                raise
            raise Unauthorized(
                "the key that was sent is not one of this host's; ask the owner for one (`runnerd"
                " user add NAME`), or send none where you are let in without. A placeholder, such"
                " as `unused`, works only as long as there are no keys"
            ) from error

    def check(self, principal: Principal, action: Action) -> None:
        """Raise errors.Unauthorized or PermissionMissing unless `principal` may do `action`."""
        if principal.kind is PrincipalKind.OWNER:
            return
        if principal.kind is PrincipalKind.USER:
            standing = self._user(principal)
            if action in standing.actions:
                return
            allowed = standing.permissions
        elif principal.id:
            allowed = WITHOUT_A_KEY
        elif action in FOR_ANYBODY:
            return
        else:
            raise Unauthorized(
                "this takes a key, as `Authorization: Bearer KEY`; the owner of this host gives"
                " keys out (runnerd user add)"
            )
        needed = NEEDED[action]
        if needed is None or _is_met(needed, allowed):
            return
        raise PermissionMissing(
            f"this takes the permission {needed}, which you do not have; the owner of this host can"
            " give it",
            permission=needed,
        )

    def grants(self, principal: Principal) -> Patterns | None:
        """The patterns of the models that there are for a principal; None: all there are.

        Raises errors.Unauthorized.
        """
        if principal.kind is not PrincipalKind.USER:
            return None
        return self._user(principal).grants

    def rights(self, principal: Principal) -> object:
        """What a principal may do, with all that is asked of it: the same object for as long as
        that stays as it is.

        Raises errors.Unauthorized.
        """
        return self._user(principal) if principal.kind is PrincipalKind.USER else principal.kind

    def sees_everything(self, principal: Principal) -> bool:
        """Whether what belongs to others is shown to a principal, too.

        Raises errors.Unauthorized.
        """
        if principal.kind is PrincipalKind.USER:
            return self._user(principal).superuser
        return principal.kind is PrincipalKind.OWNER

    def limits(self, principal: Principal) -> UserLimits:
        """How much a principal may do.  Raises errors.Unauthorized."""
        if principal.kind is not PrincipalKind.USER:
            return NO_LIMITS
        return self._user(principal).limits

    def _user(self, principal: Principal) -> _Standing:
        """What a principal's user may, as the directory has it now.  Raises errors.Unauthorized."""
        name = principal.id if principal.key is None else principal.key
        known = self._known.get(name)
        if known is not None and (known.until is None or self._clock() < known.until):
            return known
        now, keys = self._clock(), self.directory.keys_of(principal.user_id or "")
        keys = [key for key in keys if principal.key in (None, key.id)]
        user = self.directory.user(principal.user_id or "")
        if user is None or not keys:
            raise Unauthorized("the key is not valid any more")
        keys = [key for key in keys if not key.ended(now)]
        if user.ended(now) or not keys:
            raise Unauthorized("the key has expired, or its user may not use this host any more")
        known = self._known[name] = _standing(user, keys)
        return known


class _Standing(NamedTuple):
    """What is asked of a user with each request; `until` is when it has to be found anew, None for
    as long as users are not changed.
    """

    until: float | None
    permissions: frozenset[Permission]
    actions: frozenset[Action]  # that these allow
    superuser: bool
    grants: Patterns | None
    limits: UserLimits


def _is_met(needed: Permission | None, allowed: frozenset[Permission]) -> bool:
    return needed is None or needed in allowed or Permission.SUPERUSER in allowed


def _standing(user: User, keys: Iterable[Key]) -> _Standing:
    last = max(math.inf if key.expires is None else key.expires for key in keys)
    until = last if user.expires is None else min(last, user.expires)
    superuser = Permission.SUPERUSER in user.permissions
    return _Standing(
        None if until == math.inf else until,
        user.permissions,
        frozenset(action for action, needed in NEEDED.items() if _is_met(needed, user.permissions)),
        superuser,
        None if superuser else user.models or None,
        NO_LIMITS if user.limits == NO_LIMITS else user.limits,
    )
