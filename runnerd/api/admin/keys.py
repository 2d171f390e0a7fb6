"""`/runnerd/keys`: the keys of users, without the keys themselves."""

from __future__ import annotations

import time

from aiohttp import web

from runnerd.access import Action
from runnerd.accounts.users import NewKey
from runnerd.api.admin import fields
from runnerd.api.admin.users import find
from runnerd.api.context import CONTEXT, SUBJECT, json_body, json_response
from runnerd.api.routing import Routes

ROUTES = Routes()


@ROUTES.get("/runnerd/keys", Action.MANAGE_USERS)
async def list_keys(request: web.Request) -> web.Response:
    """All keys by user and age, or one `user`'s."""
    directory, now = request.app[CONTEXT].accounts.users.directory, time.time()
    name = request.query.get("user")
    users = directory.users() if name is None else [find(request, name)]
    return json_response(
        [fields.key_json(key, user, now) for user in users for key in directory.keys_of(user.id)]
    )


@ROUTES.post("/runnerd/users/{user}/keys", Action.MANAGE_USERS)
async def add_key(request: web.Request) -> web.Response:
    """Give a user one more key; the response has it, and it is never told again."""
    document = await json_body(request) if request.body_exists else {}
    fields.only(document, ("label", "expires"), "a key")
    made = await request.app[CONTEXT].accounts.users.add_key(
        find(request, request.match_info["user"]).id,
        label=fields.label(document.get("label")),
        expires=fields.moment(document.get("expires")),
    )
    request[SUBJECT] = f"{made.user.name} key={made.key.id}"
    return _made(made)


@ROUTES.post("/runnerd/keys/{id}/rotate", Action.MANAGE_USERS)
async def rotate_key(request: web.Request) -> web.Response:
    """Replace a key; the old one counts no more."""
    users, id = request.app[CONTEXT].accounts.users, request.match_info["id"]
    made = await users.rotate(id)
    request[SUBJECT] = f"{made.user.name} key={id} by={made.key.id}"
    return _made(made)


@ROUTES.delete("/runnerd/keys/{id}", Action.MANAGE_USERS)
async def remove_key(request: web.Request) -> web.Response:
    """Revoke a key."""
    users = request.app[CONTEXT].accounts.users
    key = await users.remove_key(request.match_info["id"])
    user = users.directory.user(key.user_id)  # None: removed in the same moment
    request[SUBJECT] = f"{key.user_id if user is None else user.name} key={key.id}"
    return json_response({"id": key.id})


def _made(made: NewKey) -> web.Response:
    shown = fields.key_json(made.key, made.user, time.time())
    response = json_response(shown | {"key": made.secret}, status=201)
    response.headers["Cache-Control"] = "no-store"
    return response
