"""Who a request's body says makes it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from runnerd.access import Directory, Key, Rules, User
from runnerd.access.users import key_digest
from runnerd.api.context import CONTEXT, NAMED, Context
from runnerd.api.pantry import bodies
from runnerd.api.pantry.bodies import NOBODYS_ID, decoded, identify
from runnerd.api.pantry.wire import LLMRequest
from runnerd.errors import ClientError, Unauthorized, UnprocessableBody, UnsupportedMediaType

ANN, BOB = "0b0e7d3c-5d4e-4a3e-9f6d-6d1f3a9b2c11", "0b0e7d3c-5d4e-4a3e-9f6d-6d1f3a9b2c12"
KEY = "k" * 43


def asked(monkeypatch: pytest.MonkeyPatch, body: bytes, kind: str = "application/json") -> Any:
    directory = Directory(
        (User(ANN, "ann"), User(BOB, "bob")), (Key("k", ANN, key_digest(KEY), 0.0),)
    )
    app = web.Application()
    app[CONTEXT] = cast(Context, SimpleNamespace(policy=Rules(lambda: 1.0, directory)))
    request = make_mocked_request("POST", "/x", {"Content-Type": kind}, app=app)

    async def read(request: web.Request) -> bytes:
        return body

    monkeypatch.setattr(bodies, "read_body", read)
    return request


def said(**members: object) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize("id", [ANN, ANN.upper(), ANN.replace("-", "")])
async def test_a_user(monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    """By id and key, whatever else there is."""
    request = asked(monkeypatch, said(user_id=id, api_key=KEY, llm_id="x", more=1))
    await identify(request)
    assert request[NAMED].user_id == ANN
    assert decoded(request, LLMRequest).llm_id == "x"


@pytest.mark.parametrize("body", [said(), said(user_id=NOBODYS_ID, api_key="")])
async def test_nobody_in_particular(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Then it is who the head or the connection says."""
    request = asked(monkeypatch, body)
    await identify(request)
    assert NAMED not in request


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (said(user_id=BOB, api_key=KEY), Unauthorized),
        (said(user_id=ANN, api_key=""), Unauthorized),
        (said(user_id=ANN, api_key="x" * 43), Unauthorized),
        (said(user_id=NOBODYS_ID, api_key=KEY), Unauthorized),
        (said(user_id="ann", api_key=KEY), ClientError),
        (said(user_id=ANN), UnprocessableBody),
        (said(api_key=KEY), UnprocessableBody),
        (said(user_id=3, api_key=KEY), UnprocessableBody),
        (b"[]", UnprocessableBody),
        (b"", ClientError),
        (b"\xff", ClientError),
    ],
)
async def test_what_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch, body: bytes, error: type[Exception]
) -> None:
    """Nobody is named."""
    request = asked(monkeypatch, body)
    with pytest.raises(error) as refused:
        await identify(request)
    assert type(refused.value) is error
    assert NAMED not in request


async def test_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be said that a body is JSON; how its letters are written may be, too."""
    await identify(asked(monkeypatch, said(), "application/json; charset=utf-8"))
    for kind in ("text/plain", "", "application/x-www-form-urlencoded"):
        with pytest.raises(UnsupportedMediaType):
            await identify(asked(monkeypatch, said(), kind))
