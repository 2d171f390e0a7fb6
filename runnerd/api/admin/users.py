"""`/runnerd/users`: who has keys, and what they may."""

from __future__ import annotations

import difflib
import time
from typing import Any

from aiohttp import web

from runnerd.access import Action, User, UserLimits
from runnerd.accounts.users import UserStore
from runnerd.api.admin import fields
from runnerd.api.context import CONTEXT, SUBJECT, json_body, json_response, text_field
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, UserNotFound

ROUTES = Routes()


@ROUTES.get("/runnerd/users", Action.MANAGE_USERS)
async def list_users(request: web.Request) -> web.Response:
    """All users with their keys, by name."""
    directory, now = _users(request).directory, time.time()
    return json_response(
        [fields.user_json(user, directory.keys_of(user.id), now) for user in directory.users()]
    )


@ROUTES.post("/runnerd/users", Action.MANAGE_USERS)
async def add_user(request: web.Request) -> web.Response:
    """Add a user; the response has the key, which is never told again."""
    document = await json_body(request)
    label = fields.label(document.pop("label", None))
    text_field(document, "name", required=True)
    said = fields.user_fields(document)
    request[SUBJECT] = fields.told_changes(said)
    limits = UserLimits(**said.pop("limits", {}))
    made = await _users(request).add(User(id="", limits=limits, **said), label=label)
    return _with_key(request, made.user, {"key": made.secret, "key_id": made.key.id}, status=201)


@ROUTES.get("/runnerd/users/{user}", Action.MANAGE_USERS)
async def show_user(request: web.Request) -> web.Response:
    """One user, by name or id."""
    return _with_key(request, find(request, request.match_info["user"]), {})


@ROUTES.post("/runnerd/users/{user}", Action.MANAGE_USERS)
async def edit_user(request: web.Request) -> web.Response:
    """Change a user: what is not said stays as it is."""
    document = await json_body(request)
    user = find(request, request.match_info["user"])
    said = fields.user_fields(document)
    if not said:
        raise ClientError("say what to change: name, may, models, limits, expires or disabled")
    request[SUBJECT] = f"{user.name} {fields.told_changes(said)}"
    return _with_key(request, await _users(request).edit(user.id, **said), {})


@ROUTES.delete("/runnerd/users/{user}", Action.MANAGE_USERS)
async def remove_user(request: web.Request) -> web.Response:
    """Remove a user and all its keys."""
    user = await _users(request).remove(find(request, request.match_info["user"]).id)
    return json_response({"id": user.id, "name": user.name})


def find(request: web.Request, name: str) -> User:
    """The user with this name or id.  Raises errors.UserNotFound, with a name that is near."""
    users = _users(request)
    try:
        return users.user(name)
    except UserNotFound:
        names = [user.name for user in users.directory.users()]
        near = difflib.get_close_matches(name, names, n=1)
        if not near:
            raise
        raise UserNotFound(f"there is no user {name[:100]!r}; did you mean {near[0]}?") from None


def _users(request: web.Request) -> UserStore:
    return request.app[CONTEXT].accounts.users


def _with_key(
    request: web.Request, user: User, key: dict[str, Any], *, status: int = 200
) -> web.Response:
    keys = _users(request).directory.keys_of(user.id)
    response = json_response(fields.user_json(user, keys, time.time()) | key, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response
