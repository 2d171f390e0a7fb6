"""`/runnerd/me`: who the daemon takes somebody for, what they may, and what they have used."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from aiohttp import web

from runnerd.access import Action, Permission, PrincipalKind, User
from runnerd.access.permissions import MEANINGS, WITHOUT_A_KEY
from runnerd.access.principals import Principal
from runnerd.accounts.usage import DAY, Period
from runnerd.api.admin.fields import user_json
from runnerd.api.context import CONTEXT, Context, json_response, principal_of
from runnerd.api.routing import Routes
from runnerd.errors import RunnerdError

ROUTES = Routes()

_DAYS = 30


@ROUTES.get("/runnerd/me", Action.USE_ACCOUNT)
async def me(request: web.Request) -> web.Response:
    """Oneself: kind, name, permissions, models, limits, and usage today and in thirty days.

    `permissions` has all that there are, each with its meaning; `may` those that one has.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    user = context.accounts.users.directory.user(principal.user_id or "")
    about = {
        "kind": principal.kind,
        "id": principal.id if user is None else user.id,
        "name": context.accounts.called(principal.id),
        **_allowed(context, principal, user),
        "permissions": MEANINGS,
    }
    today = int(time.time() // DAY)
    about["usage"] = {
        "today": await _used(context, Period(today, today, principal.id)),
        "month": await _used(context, Period(today - _DAYS + 1, today, principal.id)),
    }
    return json_response(about)


def _allowed(context: Context, principal: Principal, user: User | None) -> dict[str, Any]:
    if user is not None:
        told = user_json(user, (), time.time())
        return {name: told[name] for name in ("may", "models", "limits", "expires")}
    owner = principal.kind is PrincipalKind.OWNER
    return {
        "may": sorted({Permission.SUPERUSER} if owner else WITHOUT_A_KEY),
        "models": [],
        "limits": asdict(context.policy.limits(principal)),
        "expires": None,
    }


async def _used(context: Context, period: Period) -> dict[str, int] | None:
    """The sums of a period, None where they cannot be read."""
    try:
        found = await context.accounts.usage.used("user", period)
    except RunnerdError:
        return None
    names = ("requests", "failures", "prompt_tokens", "completion_tokens")
    return {name: sum(int(getattr(used, name)) for used in found) for name in names}
