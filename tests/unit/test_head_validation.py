"""What heads are held against, whichever request they begin."""

from __future__ import annotations

from typing import Any

import pytest

from runnerd.errors import (
    ClientError,
    ExpectationFailed,
    Forbidden,
    HeadersTooLarge,
    MethodNotAllowed,
    UnsupportedMediaType,
)
from runnerd.limit_settings import Limits
from runnerd.relay import routes
from runnerd.relay.admission import Admission
from runnerd.relay.head_validation import check_inference, check_request, request_of
from runnerd.relay.http_reader import Head
from runnerd.relay.messages import Request

HOST = (b"host", b"localhost")
CHAT = routes.find("/v1/chat/completions")
OLLAMA = (b"content-type", b"application/x-www-form-urlencoded")


def request(
    *headers: tuple[bytes, bytes],
    target: bytes = b"/v1/models",
    method: str = "POST",
    http11: bool = True,
    unix: bool = False,
    **more: Any,
) -> Request:
    """The request that a head begins."""
    head = Head(method, target, list(headers), http11, True, **more)
    return request_of(head, unix=unix)


@pytest.mark.parametrize(
    ("target", "unix", "path"),
    [
        (b"/v1//chat///completions/", False, "/v1/chat/completions"),
        (b"//", False, "/"),
        (b"/v1/models?a=//b", False, "/v1/models"),
        (b"/exp/vDD4.40/models", True, "/models"),
        (b"/exp/vDD4.40/models", False, "/exp/vDD4.40/models"),
        (b"/exp/vDD4.40x/models", True, "/exp/vDD4.40x/models"),
        (b"/\xff", False, "/\xff"),
    ],
)
def test_paths_that_clients_put_together(target: bytes, unix: bool, path: str) -> None:
    """Docker Desktop's prefix is one on its socket alone; a query stays as it was sent."""
    found = request(HOST, target=target, unix=unix)
    assert found.path.partition("?")[0] == path
    if b"?" in target:
        assert found.target == target


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (request(), ClientError),
        (request(HOST, HOST), ClientError),
        (request((b"host", b"evil.example")), Forbidden),
        (request(HOST, target=b"http://localhost/v1/models"), ClientError),
        (request(HOST, method="TRACE"), MethodNotAllowed),
        (request(HOST, method="CONNECT"), MethodNotAllowed),
        (request(HOST, (b"transfer-encoding", b"gzip, chunked")), ClientError),
        (request(HOST, (b"transfer-encoding", b"chunked"), http11=False), ClientError),
        (request(HOST, (b"expect", b"a miracle")), ExpectationFailed),
        (request(HOST, (b"origin", b"https://evil.example")), Forbidden),
        (request(HOST, (b"x", b"y" * 70000)), HeadersTooLarge),
        (request(HOST, *[(b"x", b"")] * 128), HeadersTooLarge),
    ],
)
def test_what_is_refused_of_any_request(made: Request, error: type[Exception]) -> None:
    """Before its body is asked for."""
    with pytest.raises(error):
        check_request(made, Limits(), Admission(), unix=False)


def test_no_web_page_reaches_a_unix_socket() -> None:
    """So any name will do there; HTTP/1.0 needs none at all."""
    check_request(request((b"host", b"docker")), Limits(), Admission(), unix=True)
    check_request(request(http11=False), Limits(), Admission(), unix=False)


@pytest.mark.parametrize(("http11", "expects"), [(True, True), (False, False)])
def test_an_expectation_is_one_of_http_1_1(http11: bool, expects: bool) -> None:
    """An older client would take the interim response for the last one."""
    made = request(HOST, (b"expect", b"100-Continue"), http11=http11)
    check_request(made, Limits(), Admission(), unix=False)
    assert made.expects_continue is expects


@pytest.mark.parametrize(
    ("headers", "unix", "length", "error"),
    [
        ([(b"content-type", b"application/json; charset=utf-8")], False, 2, None),
        ([(b"content-type", b"Application/JSON")], False, 2, None),
        ([(b"content-type", b"text/plain")], False, 2, UnsupportedMediaType),
        ([OLLAMA], False, 2, UnsupportedMediaType),
        ([OLLAMA], True, 2, None),
        ([], True, 2, None),
        ([(b"content-type", b"application/json")], False, None, ClientError),
        (
            [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")],
            False,
            2,
            UnsupportedMediaType,
        ),
        (
            [(b"content-type", b"application/json"), (b"content-encoding", b"Identity")],
            False,
            2,
            None,
        ),
    ],
)
def test_bodies_that_an_inference_takes(
    headers: list[tuple[bytes, bytes]],
    unix: bool,
    length: int | None,
    error: type[Exception] | None,
) -> None:
    """JSON under its own name; what curl says by itself passes where no browser comes."""
    assert CHAT is not None
    made = request(HOST, *headers, length=length, unix=unix)
    if error is None:
        check_inference(made, CHAT, unix=unix)
    else:
        with pytest.raises(error):
            check_inference(made, CHAT, unix=unix)
