"""Pages of other origins do not act for the owner.

Over loopback the kernel says whose program is at the other end, and a browser is its user's
program, whichever page it shows.  Pages of this host may use the daemon (`local_origins`), and
another user of the host may have made such a page.  So what is the owner's alone takes more from a
page than that the owner looks at it: a key, or the daemon's own origin.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from runnerd.access import Action, Principal, PrincipalKind
from runnerd.errors import Forbidden

OWNERS = frozenset({
    Action.MANAGE_USERS, Action.MANAGE_APPROVALS, Action.MANAGE_DATABASE,
    Action.VIEW_AUDIT, Action.VIEW_USAGE,
})  # fmt: skip
"""Actions that decide, or tell, what others may do."""


def check_page(request: web.Request, action: Action, principal: Principal) -> None:
    """Raise errors.Forbidden where a page of another origin would act for who looks at it."""
    origin = request.headers.get("Origin")
    if origin is None or action not in OWNERS or principal.kind is PrincipalKind.USER:
        return
    if urlsplit(origin).netloc.lower() != request.host.lower():
        raise Forbidden(
            f"pages of {origin[:100]} may not do this for whoever looks at them; it takes a key of"
            " a user with the permission superuser"
        )
