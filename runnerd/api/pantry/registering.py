"""`/register_user`: whoever reaches the daemon can become a user, that may nothing yet."""

from __future__ import annotations

import msgspec
from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, SUBJECT
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.wire import RegisterUser, UserInfo, UserPermissions
from runnerd.errors import Forbidden

ROUTES = pantry_routes()

_LABEL = "registered with Pantry's API"


@ROUTES.post("/register_user", Action.REGISTER)
async def register_user(request: web.Request) -> web.Response:
    """Add a user; the response has its key, which is never told again."""
    context = request.app[CONTEXT]
    if not context.settings.pantry.registration:
        raise Forbidden(
            "nobody registers itself here (pantry.registration); the owner adds users:"
            " `runnerd user add`"
        )
    name = decoded(request, RegisterUser).user_name
    made = await context.accounts.registrations.register(name, _LABEL)
    request[SUBJECT] = made.user.name
    permissions = msgspec.structs.asdict(UserPermissions.of(made.user.permissions))
    info = UserInfo(id=made.user.id, name=made.user.name, api_key=made.secret, **permissions)
    response = json_response(info)
    response.headers["Cache-Control"] = "no-store"
    return response
