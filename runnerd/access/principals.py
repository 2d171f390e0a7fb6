"""Who a request comes from.

Today a principal is a user of this host, known by the kernel's word for the other end of a Unix
socket, or an address.  Users with keys are the same type with another kind.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class PrincipalKind(enum.StrEnum):
    """How somebody is known."""

    LOCAL = "local"  # a user of this host: the peer credentials of a Unix socket
    ADDRESS = "address"  # whoever is behind a network address
    NOBODY = "nobody"  # the connection is gone, or cannot be attributed


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who makes requests.

    `id` is a stable name of this principal: requests of one id share a place in the queue, and
    what one id left in an engine's slots is never restored for another.  It is "" for nobody, with
    whom nothing is shared.  `uid` is the user id of a local user.
    """

    kind: PrincipalKind
    id: str
    uid: int | None = None


NOBODY = Principal(PrincipalKind.NOBODY, "")


def local_principal(uid: int | None) -> Principal:
    """A user of this host; nobody where the kernel does not say which."""
    if uid is None:
        return NOBODY
    return Principal(PrincipalKind.LOCAL, f"uid {uid}", uid)


def address_principal(address: str) -> Principal:
    """Whoever connects from a network address."""
    return Principal(PrincipalKind.ADDRESS, address) if address else NOBODY
