"""Reading Pantry's requests: who asks, and what for.

| `user_id`, `api_key` | who asks |
|---|---|
| a user's, and one of its keys | that user |
| both left out, or the nil UUID and an empty key | as elsewhere: head, connection |
| anything else | nobody: 401 |

Which users there are is told to nobody: for one that there is not a key is as wrong as another's.
"""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from runnerd.api.context import CONTEXT, name_principal, read_body
from runnerd.api.pantry.wire import Credentials
from runnerd.errors import (
    ClientError,
    PayloadTooLarge,
    Unauthorized,
    UnprocessableBody,
    UnsupportedMediaType,
)

T = TypeVar("T")

NOBODYS_ID = "00000000-0000-0000-0000-000000000000"

_BODY = web.RequestKey("pantry body", bytes)


async def identify(request: web.Request) -> None:
    """Read a request's body and name who it says makes it.

    Raises errors.ClientError, Unauthorized, UnprocessableBody, UnsupportedMediaType.
    """
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType("Expected request with `Content-Type: application/json`")
    try:
        request[_BODY] = await read_body(request)
    except PayloadTooLarge as error:  # the original's routes know 400, 415 and 422
        raise ClientError(error.message) from error
    said = decoded(request, Credentials)
    if said.user_id is None and said.api_key is None:
        return
    if said.user_id is None or said.api_key is None:
        raise UnprocessableBody("user_id and api_key come together")
    try:
        user_id = str(UUID(said.user_id))
    except ValueError as error:
        raise ClientError(f"user_id is not a UUID: {error}", param="user_id") from error
    if user_id == NOBODYS_ID and not said.api_key:
        return
    principal = request.app[CONTEXT].policy.authenticate(said.api_key)
    if principal is None or principal.user_id != user_id:
        raise Unauthorized("the key is not valid")
    name_principal(request, principal)


def decoded(request: web.Request, kind: type[T]) -> T:
    """A request's body.  Raises errors.ClientError for what is no JSON, UnprocessableBody for JSON
    of another shape.
    """
    try:
        return msgspec.json.decode(request[_BODY], type=kind)
    except msgspec.ValidationError as error:
        raise UnprocessableBody(f"the body of the request: {error}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ClientError(f"the body of the request is no JSON: {error}") from error
