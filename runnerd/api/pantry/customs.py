"""How Pantry's API tells errors: a line of text, which its client shows as it comes, and statuses
that are not those of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from runnerd.api.context import encode
from runnerd.api.pantry.bodies import identify
from runnerd.api.routing import Customs, Routes
from runnerd.errors import (
    BackendFailure,
    PermissionMissing,
    RunnerdError,
    Unauthorized,
    UpstreamTimeout,
)

_WRONG_KEY = "Incorrect API Key"
_NOT_ALLOWED = "Incorrect Permissions"


class PantryErrors:
    """The message, with the words in front that Pantry has for it."""

    media_type = "text/plain; charset=utf-8"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        words = {Unauthorized.code: _WRONG_KEY, PermissionMissing.code: _NOT_ALLOWED}.get(
            error["code"]
        )
        message = error["message"]
        return (f"{words}: {message}" if words else str(message)).encode()

    def event(self, error: Mapping[str, Any]) -> bytes:
        return self.body(error, 500)


def status_of(error: RunnerdError) -> int:
    """401 also for who may not, 507 for what cannot be loaded."""
    if isinstance(error, PermissionMissing):
        return Unauthorized.status
    if isinstance(error, BackendFailure | UpstreamTimeout) and error.status != 404:
        return 507
    return error.status


PANTRY = PantryErrors()
CUSTOMS = Customs(identify, status_of)


def pantry_routes() -> Routes:
    """The routes of one module of this API."""
    return Routes(PANTRY, customs=CUSTOMS)


def json_response(document: object) -> web.Response:
    """A response; its status is 200, since clients take any other one for a failure."""
    return web.Response(body=encode(document), content_type="application/json")
