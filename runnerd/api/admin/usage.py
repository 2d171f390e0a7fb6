"""`/runnerd/usage`: requests and tokens by user, model or day."""

from __future__ import annotations

import datetime
import time

from aiohttp import web

from runnerd.access import Action
from runnerd.access.principals import user_principal
from runnerd.accounts.usage import DAY, KEPT_DAYS, Period
from runnerd.accounts.usage_rows import Used
from runnerd.api.admin.counts import count_of
from runnerd.api.admin.users import find
from runnerd.api.context import CONTEXT, json_response
from runnerd.api.routing import Routes
from runnerd.errors import ClientError

ROUTES = Routes()

_BY = ("user", "model", "day")
_USUAL_DAYS = 30
_FIRST_DAY = datetime.date(1970, 1, 1)


@ROUTES.get("/runnerd/usage", Action.VIEW_USAGE)
async def usage(request: web.Request) -> web.Response:
    """Sums of the last `days`, `by` user, model or day; of one `user` or of everybody."""
    context = request.app[CONTEXT]
    by = request.query.get("by", "user")
    if by not in _BY:
        raise ClientError(f"by is one of {', '.join(_BY)}", param="by")
    days = count_of(request, "days", usual=_USUAL_DAYS, most=KEPT_DAYS)
    name = request.query.get("user")
    principal = None if name is None else user_principal(find(request, name).id, "").id
    today = int(time.time() // DAY)
    found = await context.accounts.usage.used(by, Period(today - days + 1, today, principal))
    return json_response([_line(by, used) for used in found])


def _line(by: str, used: Used) -> dict[str, object]:
    line: dict[str, object] = {by: used.called}
    if by == "user":
        line["id"] = used.id
    elif by == "day":
        line[by] = (_FIRST_DAY + datetime.timedelta(days=int(used.id))).isoformat()
    return line | {
        "requests": used.requests,
        "failures": used.failures,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
    }
