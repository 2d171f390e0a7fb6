"""`/runnerd/logins`: a user's own logins at registries and at the hub.

What was given is shown to nobody, the one who gave it included.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.access.logins import Login, login_host
from runnerd.api.admin import fields
from runnerd.api.context import (
    CONTEXT,
    is_owner,
    json_body,
    json_response,
    principal_of,
    text_field,
    timestamp,
)
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, Unauthorized

ROUTES = Routes()

log = logging.getLogger(__name__)

_HOST = re.compile(r"(?=.{1,255}$)(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_USERNAME_LETTERS = 255
_SECRET_LETTERS = 16384  # tokens of some clouds' registries have thousands


@ROUTES.get("/runnerd/logins", Action.USE_ACCOUNT)
async def list_logins(request: web.Request) -> web.Response:
    """Where who asks is logged in, and as whom."""
    logins = request.app[CONTEXT].accounts.logins
    return json_response([_shown(login) for login in logins.of(_user_id(request))])


@ROUTES.post("/runnerd/logins", Action.USE_ACCOUNT)
async def log_in(request: web.Request) -> web.Response:
    """Keep a login: `registry`, `username` and `password`; a token has no name."""
    user_id = _user_id(request)
    document = await json_body(request)
    fields.only(document, ("registry", "username", "password"), "a login")
    login = _login(user_id, document)
    await request.app[CONTEXT].accounts.logins.add(login)
    _note(request, "logged in at", login.host)
    return json_response(_shown(login), status=201)


@ROUTES.delete("/runnerd/logins/{registry}", Action.USE_ACCOUNT)
async def log_out(request: web.Request) -> web.Response:
    """Forget a login."""
    user_id, host = _user_id(request), login_host(request.match_info["registry"])
    await request.app[CONTEXT].accounts.logins.remove(user_id, host)
    _note(request, "logged out at", host)
    return json_response({"registry": host})


def _login(user_id: str, document: dict[str, Any]) -> Login:
    host = login_host(text_field(document, "registry", required=True) or "")
    if not _HOST.fullmatch(host):
        raise ClientError("registry is HOST or HOST:PORT, or hf.co", param="registry")
    username = text_field(document, "username") or ""
    if len(username) > _USERNAME_LETTERS or not username.isprintable() or ":" in username:
        raise ClientError("username is not what it should be", param="username")
    secret = text_field(document, "password", required=True) or ""
    if len(secret) > _SECRET_LETTERS or not secret.isprintable():
        raise ClientError("password is not what it should be", param="password")
    return Login(user_id, host, username, secret, time.time())


def _shown(login: Login) -> dict[str, object]:
    return {
        "registry": login.host,
        "username": login.username,
        "created": timestamp(login.created),
    }


def _user_id(request: web.Request) -> str:
    """Who asks, which has to be a user.  Raises errors.ClientError, Unauthorized."""
    if (user_id := principal_of(request).user_id) is not None:
        return user_id
    if is_owner(request):
        raise ClientError(
            "the owner's logins are the daemon's own: `docker login` as the daemon's user, and"
            " hub_token for the hub; with a user's key in RUNNERD_KEY it is that user's login"
        )
    raise Unauthorized(
        "logins are a user's, so this takes a key (`Authorization: Bearer KEY`, RUNNERD_KEY)"
    )


def _note(request: web.Request, done: str, host: str) -> None:
    who = request.app[CONTEXT].accounts.called(principal_of(request).id)
    log.info("%s has %s %s", who, done, host)
