"""The page's files as they are served: what they may do, how long they are kept, and where."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from runnerd.api import page
from runnerd.api.context import CONTEXT, Context
from runnerd.api.page import read_files, wants_page

Client = TestClient[web.Request, web.Application]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def settings() -> SimpleNamespace:
    return SimpleNamespace(page=True)


@pytest.fixture
async def client(settings: SimpleNamespace) -> AsyncIterator[Client]:
    """A client of the page alone."""
    app = web.Application()
    app[CONTEXT] = cast(Context, SimpleNamespace(settings=settings))
    page.add_page(app)
    page.ROUTES.add_to(app)

    async def root(request: web.Request) -> web.StreamResponse:
        return await page.document(request) if wants_page(request) else web.Response(text="other")

    app.router.add_get("/", root)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_what_it_may_do(client: Client) -> None:
    """Nothing runs but its own files, nobody frames it, texts never become elements or scripts."""
    response = await client.get("/ui")
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    [style] = re.findall("<style>(.*?)</style>", await response.text(), re.DOTALL)
    known = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{known}'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"


async def test_one_request_shows_the_frame(client: Client) -> None:
    """The style is in the document; what the first view needs is fetched early, and no more."""
    files = read_files()
    text = await (await client.get("/ui")).text()
    assert "stylesheet" not in text
    early = re.findall(r'modulepreload" href="ui/\w+/(\w+\.js)"', text)
    assert len(early) == len(set(early))
    assert {"app.js", "ui.js", "api.js", "dom.js", "overview.js", "pulls.js"} <= set(early)
    assert not {"users.js", "chat.js", "reference.js"} & set(early)
    assert set(early) < set(files.others)


async def test_files_are_kept_and_the_document_is_asked_for(client: Client) -> None:
    """Files have a place of their own for each version; the document is told to be the same."""
    files = read_files()
    first = await client.get("/ui")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get("/ui", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert "Content-Security-Policy" in again.headers
    text = await first.text()
    assert "VERSION" not in text
    for name, content in files.others.items():
        assert f"ui/{files.version}/{name}" in text or name.endswith(".js")
        response = await client.get(f"/ui/{files.version}/{name}")
        assert await response.read() == content
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (await client.get("/ui/0123456789abcdef/app.js")).status >= 400
    assert (await client.get(f"/ui/{files.version}/..%2F..%2F__init__.py")).status >= 400


async def test_whom_the_root_shows_it(client: Client) -> None:
    """Browsers get the page, everybody else what was there before."""
    assert (await client.get("/", headers=BROWSER)).content_type == "text/html"
    for accept in ("*/*", "application/json", "text/plain"):
        assert await (await client.get("/", headers={"Accept": accept})).text() == "other"


async def test_switched_off(client: Client, settings: SimpleNamespace) -> None:
    """One setting takes it away, at once."""
    settings.page = False
    assert (await client.get("/ui")).status >= 400
    assert (await client.get(f"/ui/{read_files().version}/app.js")).status >= 400
    assert await (await client.get("/", headers=BROWSER)).text() == "other"


def test_another_version_is_another_place(tmp_path: Path) -> None:
    """One byte of one file is enough."""
    document = "<script src='ui/VERSION/app.js'></script><!-- modules -->"
    (tmp_path / "index.html").write_text(document)
    (tmp_path / "app.js").write_text("1")
    first = read_files(tmp_path)
    (tmp_path / "app.js").write_text("2")
    second = read_files(tmp_path)
    assert first.version != second.version
    assert first.etag != second.etag
    assert f"ui/{second.version}/app.js".encode() in second.document
    assert b"modulepreload" in second.document
