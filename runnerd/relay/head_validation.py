"""What the head of a request says, and what it must be like before anything is done with it."""

from __future__ import annotations

from runnerd.errors import (
    ClientError,
    ExpectationFailed,
    MethodNotAllowed,
    UnsupportedMediaType,
)
from runnerd.limit_settings import Limits
from runnerd.relay.admission import Admission
from runnerd.relay.http_reader import Head, head_too_large
from runnerd.relay.messages import Request, new_request_id
from runnerd.relay.routes import DESKTOP_PREFIX, Route

_JSON = b"application/json"
_OF_CURL = (b"", b"application/x-www-form-urlencoded")
_DESKTOP_PREFIX = DESKTOP_PREFIX.encode()


def request_of(head: Head, *, unix: bool) -> Request:
    """Make the request that a head begins; `unix`: it came through a Unix socket."""
    target, _, query = head.target.partition(b"?")
    while b"//" in target:
        target = target.replace(b"//", b"/")
    target = target.rstrip(b"/") or target[:1]  # clients put paths together from parts
    if unix and target.startswith(_DESKTOP_PREFIX + b"/"):
        target = target[len(_DESKTOP_PREFIX) :]
    request = Request(
        method=head.method,
        target=b"%s?%s" % (target, query) if query else target,
        path=target.decode("latin-1"),
        headers=head.headers,
        http11=head.http11,
        keep_alive=head.keep_alive,
        length=head.length,
        chunked=head.chunked,
        id="",
    )
    request.id = new_request_id(request.header(b"x-request-id"))
    return request


def check_request(request: Request, limits: Limits, admission: Admission, *, unix: bool) -> None:
    """Hold a head against the rules that are the same for every request; note what it asks for.

    What passes is remembered (`request_head_cache`): nothing in here may depend on anything but the
    head's bytes and the kind of listener.  What can change goes into `_start_exchange`.
    """
    hosts = [value for name, value in request.headers if name == b"host"]
    host = hosts[0] if hosts else b"localhost"
    origin = request.header(b"origin")
    request.allowed = admission.cors_lines(origin, None if unix else host)
    size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
    if size > limits.head_bytes or len(request.headers) > limits.headers:
        raise head_too_large(limits)
    if not (request.target.startswith(b"/") or request.target == b"*"):
        raise ClientError("the request target must be a path")
    if request.method in ("TRACE", "CONNECT"):
        raise MethodNotAllowed(f"{request.method} is not offered", allow="GET, POST, DELETE")
    if len(hosts) > 1 or (request.http11 and not hosts):
        raise ClientError("a request needs exactly one Host header")
    coding = request.header(b"transfer-encoding")
    if coding is not None and (not request.http11 or coding.lower() != b"chunked"):
        raise ClientError("the only transfer coding accepted is chunked, in HTTP/1.1")
    if not unix:
        admission.check_host(host)
    admission.check_origin(
        origin,
        request.header(b"sec-fetch-site"),
        None if unix else host,
        preflight=request.method == "OPTIONS",
    )
    expect = request.header(b"expect")
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise ExpectationFailed("the only expectation met is 100-continue")
        request.expects_continue = request.http11


def check_inference(request: Request, route: Route, *, unix: bool) -> None:
    """Hold the head of an inference request against the rules, before its body is read.

    What `curl -d` says of a body by itself passes for JSON on a Unix socket, which no web page can
    reach, and on routes whose users write no header (Ollama's): a page's form has no way to send
    JSON under that name, and its scripts send an Origin.  Raises errors of the 4xx kind.
    """
    encoding = request.header(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise UnsupportedMediaType("compressed request bodies are not accepted")
    content_type = request.header(b"content-type") or b""
    kind = content_type.split(b";")[0].strip().lower()
    lenient = unix or (route.untyped and not _by_browser(request))
    media_type = route.media_type
    if media_type != _JSON:
        if kind != media_type:
            raise UnsupportedMediaType(f"the request body must be {media_type.decode()}")
    elif kind != _JSON and not (lenient and kind in _OF_CURL):
        raise UnsupportedMediaType(
            "the request body must be JSON, with the header Content-Type: application/json"
        )
    if request.length is None and not request.chunked:
        raise ClientError("the request has no body")


def _by_browser(request: Request) -> bool:
    return any(request.header(name) is not None for name in (b"origin", b"sec-fetch-site"))
