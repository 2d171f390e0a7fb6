"""Who makes a request: the credential of its head, else whoever is at the connection's other end.

Asked once for each head, before `100 Continue` and before the body; a head that is remembered keeps
what it was found to be (`request_head_cache`).  Whether that still counts, and what it may do, is
the policy's to say at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runnerd.access import Principal
from runnerd.access.credentials import credential_of
from runnerd.errors import RunnerdError
from runnerd.relay.messages import Request

Headers = Iterable[tuple[bytes, bytes]]

Authenticate = Callable[[str], Principal | None]
"""Who has a key, None for what is no key at all.  Raises errors.Unauthorized."""


def user_of(headers: Headers, authenticate: Authenticate) -> Principal | None:
    """The user whose key a head shows, None where it shows none; header names are lower case.

    Raises errors.Unauthorized.
    """
    secret = credential_of(headers)
    return None if secret is None else authenticate(secret)


def identify(request: Request, authenticate: Authenticate) -> None:
    """Note on a request who makes it, or why its credential does not count.

    Its route says in which form that is told, and whether anybody has to know.  Notes, too, for
    whom a proxy says that the request is.
    """
    request.forwarded_for = forwarded_for(request.headers)
    try:
        request.user = user_of(request.headers, authenticate)
    except RunnerdError as error:
        request.unauthorized = error.with_traceback(None)


def forwarded_for(headers: Headers) -> str:
    """What a head says of whose request a proxy passes on: the addresses of X-Forwarded-For, joined
    by commas; "unknown" where only another header tells of a proxy, "" where none does.
    """
    said, proxied = [], False
    for name, value in headers:
        if name == b"x-forwarded-for":
            said.append(value.decode("latin-1"))
        elif name in _TOLD_BY_PROXIES:
            proxied = True
    text = ",".join(said)
    if len(text) > _LONGEST:  # nobody looks further back; what is cut through is no address
        return text[-_LONGEST:].partition(",")[2] or "unknown"
    return text or ("unknown" if proxied else "")


_TOLD_BY_PROXIES = frozenset({b"forwarded", b"x-real-ip", b"x-forwarded-host", b"via"})
_LONGEST = 1024
