"""The owner's page: the static files of `web/`, under headers that let nothing else run in them.

The document at `/ui` (at `/docs`, and at `/` for browsers) is asked for anew each time; it names
the other files below `/ui/VERSION/`, where VERSION is a digest of all of them, so that those may be
kept for ever. Its style is in it, so that a browser shows the frame after one request; what the
first view is made of is fetched early, other views when they are shown.  The page has no rights of
its own: everything that it shows and does are requests as anybody's, with the rights of whoever
looks at it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

import runnerd
from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT
from runnerd.api.routing import Routes
from runnerd.errors import RouteNotFound

ROUTES = Routes()

_FOLDER = Path(runnerd.__file__).parent / "web"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_DOCUMENT = "index.html"
_PLACE = b"ui/VERSION/"  # as the document writes it
_STYLE = (b'<link rel="stylesheet" href="ui/VERSION/style.css">', "style.css")
_MODULES = b"<!-- modules -->"  # where the document has its scripts fetched early
_FIRST = ("app.js", "overview.js")  # the frame, and the view that is shown where none is asked for
_IMPORT = re.compile(rb'^(?:import|export) [^;]*? from "\./([a-z_]+\.js)";$', re.MULTILINE)

_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'sha256-%s'", "connect-src 'self'",
    "img-src 'self' data: blob:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
"""No script but these files', no style but the one in the document, which is known by its digest;
and texts are never made into elements or code.
"""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class PageFiles:
    """The page's files: the document, its digest, and the others by name; and what they are served
    with.
    """

    document: bytes
    etag: str
    version: str
    others: dict[str, bytes]
    headers: dict[str, str]


_FILES = web.AppKey("page files", dict[str, PageFiles])


def add_page(app: web.Application) -> None:
    """Let an application remember the files once they were read."""
    app[_FILES] = {}


def read_files(folder: Path = _FOLDER) -> PageFiles:
    """Read the page's files.  Blocks."""
    others = {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES
    }
    digest = hashlib.sha256()
    for name, content in others.items():
        digest.update(b"%s %d\n" % (name.encode(), len(content)))
        digest.update(content)
    version = digest.hexdigest()[:16]
    place = b"ui/%s/" % version.encode()
    modules = b"\n".join(
        b'<link rel="modulepreload" href="%s%s">' % (place, name.encode())
        for name in _needed(others)
    )
    document = (folder / _DOCUMENT).read_bytes()
    link, name = _STYLE
    style = others.pop(name, b"")
    document = document.replace(link, b"<style>%s</style>" % style)
    document = document.replace(_PLACE, place).replace(_MODULES, modules)
    known = base64.b64encode(hashlib.sha256(style).digest()).decode()
    headers = {"Content-Security-Policy": _POLICY % known, **HEADERS}
    etag = hashlib.sha256(document).hexdigest()[:16]
    return PageFiles(document, etag, version, others, headers)


def _needed(files: Mapping[str, bytes]) -> list[str]:
    """The modules that the first view is made of, those first that others wait for."""
    found: dict[str, None] = {}
    waiting = [name for name in _FIRST if name in files]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += [imported.decode() for imported in _IMPORT.findall(files[name])]
    return list(found)


def wants_page(request: web.Request) -> bool:
    """Whether a request for `/` is a browser's that is to be shown the page."""
    accept = request.headers.get(hdrs.ACCEPT, "").lower()
    return "text/html" in accept and request.app[CONTEXT].settings.page


@ROUTES.get("/docs", Action.PUBLIC)
@ROUTES.get("/ui", Action.PUBLIC)
async def document(request: web.Request) -> web.Response:
    """The page itself; at `/docs` it begins with the description of the API."""
    files = await _files(request)
    headers = {
        **files.headers,
        hdrs.ETAG: f'"{files.etag}"',
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: "Accept",
    }
    if any(tag.value in (files.etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=files.document, content_type="text/html", charset="utf-8", headers=headers
    )


@ROUTES.get("/ui/{version}/{file}", Action.PUBLIC)
async def file(request: web.Request) -> web.Response:
    """One of the page's other files."""
    files, name = await _files(request), request.match_info["file"]
    content = files.others.get(name) if request.match_info["version"] == files.version else None
    if content is None:
        raise RouteNotFound("the page has no such file; reload it")
    headers = {**files.headers, hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
    kind = _TYPES[Path(name).suffix]
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


async def _files(request: web.Request) -> PageFiles:
    if not request.app[CONTEXT].settings.page:
        raise RouteNotFound("the page is switched off (`page = false`)")
    known = request.app[_FILES]
    if "" not in known:
        known[""] = await threads.run(read_files)
    return known[""]
