"""Who a request comes from.

| kind | who |
|---|---|
| OWNER | may do everything: the daemon's own uid, root, and members of the owners' group |
| USER | whoever has a key of a user (`access/users`) |
| LOCAL | another user of this host, by the kernel's word for the other end of a connection |
| ANONYMOUS | whoever is behind an address, or cannot be attributed at all |
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class PrincipalKind(enum.StrEnum):
    """How somebody is known."""

    OWNER = "owner"
    USER = "user"
    LOCAL = "local"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who makes requests.

    `id` is a stable name of this principal ("uid 1000", "user <uuid>", an address): requests of
    one id share a place in the queue, and what one id left in an engine's slots is never restored
    for another.  It is "" for nobody, with whom nothing is shared.  `uid` is the user id of a local
    user or owner; `key` is the id of the key that a user has shown, None for a user that counts as
    long as any of its keys does.
    """

    kind: PrincipalKind
    id: str
    uid: int | None = None
    key: str | None = None

    @property
    def user_id(self) -> str | None:
        """The id of the user whose key was shown."""
        return user_id(self.id) if self.kind is PrincipalKind.USER else None


_USER = "user "
_FLEET = "fleet "


def user_id(principal: str) -> str | None:
    """The id of the user that a principal's id is of, None for one of another kind."""
    return principal.removeprefix(_USER) if principal.startswith(_USER) else None


NOBODY = Principal(PrincipalKind.ANONYMOUS, "")


def owner_principal(uid: int) -> Principal:
    """A user of this host who may do everything."""
    return Principal(PrincipalKind.OWNER, f"uid {uid}", uid)


def local_principal(uid: int | None) -> Principal:
    """A user of this host; nobody where the kernel does not say which."""
    if uid is None:
        return NOBODY
    return Principal(PrincipalKind.LOCAL, f"uid {uid}", uid)


def user_principal(user_id: str, key_id: str) -> Principal:
    """A user who has shown a key."""
    return Principal(PrincipalKind.USER, f"{_USER}{user_id}", key=key_id)


def by_any_key(principal: Principal) -> Principal:
    """The same, for what goes on when the key that a user has shown is replaced by another."""
    return replace(principal, key=None)


def on_behalf_of(principal: Principal, id: str) -> Principal:
    """An owner whose request is for somebody else, as a worker's are: counted, listed and kept
    apart as that one's.  Anybody else cannot make others answer for what they do.

    A user's id means the same on all hosts that have the same users; any other means somebody where
    the work was handed in, and nobody of this host.
    """
    if principal.kind is not PrincipalKind.OWNER:
        return principal
    return replace(principal, id=id if id.startswith(_USER) else f"{_FLEET}{id}")


def address_principal(address: str) -> Principal:
    """Whoever connects from a network address."""
    return Principal(PrincipalKind.ANONYMOUS, address) if address else NOBODY
