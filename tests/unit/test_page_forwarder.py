"""The way of a browser to the daemon's Unix socket: who is let in, and what is passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from runnerd.cli.page_forwarder import PageForwarder
from runnerd.sockets.sock_diag import ConnectedSocket


class Peers:
    """Says that everybody is one user."""

    def __init__(self, uid: int | None) -> None:
        self.uid = uid

    def peer_uid(self, sock: ConnectedSocket) -> int | None:
        return self.uid


async def echo(request: web.Request) -> web.StreamResponse:
    """A daemon that tells what it was asked."""
    if request.path == "/stream":
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):
            await response.write(piece)
        return response
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = (await request.read()).decode()
    asked = {"method": request.method, "target": request.raw_path, "headers": headers, "body": body}
    return web.json_response(asked, status=418, headers={"X-Said": "yes", "Set-Cookie": "a=b"})


class Browser:
    """Asks a forwarder as a browser does; follows nothing by itself."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.origin = f"http://{urlsplit(url).netloc}"

    async def ask(
        self, target: str, method: str = "GET", data: bytes | None = None, **headers: str
    ) -> aiohttp.ClientResponse:
        """Send one request."""
        url = target if target.startswith("http") else self.origin + target
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, url, data=data, headers=said, allow_redirects=False)

    async def enter(self) -> str:
        """Exchange the token; return the cookie."""
        response = await self.ask(self.url)
        assert (response.status, response.headers["Location"]) == (303, "/ui")
        cookie = response.headers.getall("Set-Cookie")[0]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        return cookie.partition(";")[0]


@asynccontextmanager
async def browser(uid: int | None = 7, **headers: str) -> AsyncIterator[Browser]:
    """A browser of the user `uid` before a forwarder of the user 7."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    jar = aiohttp.DummyCookieJar()
    async with TestServer(app) as daemon, aiohttp.ClientSession(cookie_jar=jar) as http:
        base = f"http://{daemon.host}:{daemon.port}"
        forwarder = PageForwarder(
            http, base=base, peers=Peers(uid), uids={0, 7}, headers=headers, socket="/run/r.sock"
        )
        async with forwarder.serving() as url:
            yield Browser(http, url)


async def test_the_token_counts_once() -> None:
    """It is exchanged for a cookie; a second browser with the same address is told so."""
    async with browser() as user:
        assert (await user.ask("/runnerd-page?token=wrong")).status == 403
        assert (await user.ask("/ui")).status == 401
        cookie = await user.enter()
        assert (await user.ask("/ui", Cookie=cookie)).status == 418
        again = await user.ask(user.url)
        assert again.status == 403
        assert "Set-Cookie" not in again.headers
        assert (await user.ask("/ui", Cookie=cookie + "x")).status == 401
        assert (await user.ask("/ui", Cookie="runnerd_page=ü; =; ;;")).status == 401


@pytest.mark.parametrize("uid", [8, 65534, None])
async def test_other_users_of_the_host(uid: int | None) -> None:
    """Neither token nor cookie helps who is another user, or is not known."""
    async with browser(uid) as user:
        response = await user.ask(user.url)
        assert response.status == 403
        assert "runnerd ui" in await response.text()


async def test_other_pages() -> None:
    """With the cookie, which a browser sends along, pages of other places get nothing."""
    async with browser() as user:
        cookie = await user.enter()
        port = urlsplit(user.origin).port
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": f"http://localhost:{port}"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "same-site"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": f"evil.example:{port}"},
            {"Host": f"localhost:{port}"},
        ):
            response = await user.ask("/models", "POST", b"{}", Cookie=cookie, **headers)
            assert response.status == 403, headers
        own = {"Origin": user.origin, "Sec_Fetch_Site": "same-origin"}
        assert (await user.ask("/models", "POST", b"{}", Cookie=cookie, **own)).status == 418


async def test_what_is_passed_on() -> None:
    """Method, target, body and headers are; what is the browser's affair with us is not."""
    async with browser(Authorization="Bearer ours") as user:
        cookie = await user.enter()
        own = {"Origin": user.origin, "Sec_Fetch_Site": "same-origin", "Last_Event_ID": "x-1"}
        target = "/models/a%2Fb/tag?x=%20y&z"
        response = await user.ask(target, "POST", b"body", Cookie=cookie, **own)
        asked = await response.json()
        assert (response.status, response.headers["X-Said"]) == (418, "yes")
        assert "Set-Cookie" not in response.headers
        assert (asked["method"], asked["target"], asked["body"]) == ("POST", target, "body")
        assert asked["headers"]["last-event-id"] == "x-1"
        assert asked["headers"]["authorization"] == "Bearer ours"
        assert not {"cookie", "origin", "sec-fetch-site", "referer"} & set(asked["headers"])
        theirs = await user.ask("/", Cookie=cookie, Authorization="Bearer theirs")
        assert (await theirs.json())["headers"]["authorization"] == "Bearer theirs"
        stream = await user.ask("/stream", Cookie=cookie)
        assert await stream.read() == b"data: 1\n\ndata: 2\n\n"
        head = await user.ask("/ui", "HEAD", Cookie=cookie)
        assert (head.status, await head.read()) == (418, b"")


async def test_a_target_is_a_path_of_the_daemon() -> None:
    """Two slashes do not name another host, to which a key would go."""
    async with browser() as user:
        cookie = await user.enter()
        response = await user.ask("//evil.example/x", Cookie=cookie)
        assert (await response.json())["target"] == "//evil.example/x"


async def test_without_a_daemon() -> None:
    """It is told as the daemon tells errors."""
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        forwarder = PageForwarder(http, base="http://127.0.0.1:1", peers=Peers(7), uids={7})
        async with forwarder.serving() as url:
            user = Browser(http, url)
            response = await user.ask("/health", Cookie=await user.enter())
            assert response.status == 502
            assert "does not answer" in (await response.json())["error"]["message"]
