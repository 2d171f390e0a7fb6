"""A Hugging Face-shaped server on loopback: what its API says of a repository, and its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.fileserver import FileServer, answer_with, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Repositories by name; a private one takes `token`."""

    def __init__(self, server: FileServer, files: dict[str, bytes], token: str) -> None:
        self.server = server
        self.files = files
        self.token = token
        self.private = False
        self.gated = 0  # the status of files whose terms nobody has accepted; 0: they are open
        self.about: dict[str, object] = {}  # what else the hub says of the repository
        self.instead: Callable[[BaseHTTPRequestHandler], None] | None = None  # of every listing
        server.routes[r"/api/models/.*"] = self._info
        server.routes[r"/api/models\?.*"] = self._search
        server.routes[r"/[^/]+/[^/]+/resolve/.*"] = self._resolve
        server.routes[r"/cdn/.*"] = self._cdn

    @property
    def endpoint(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://{self.server.host}"

    def _allowed(self, handler: BaseHTTPRequestHandler) -> bool:
        return not self.private or handler.headers.get("Authorization") == f"Bearer {self.token}"

    def _search(self, handler: BaseHTTPRequestHandler) -> None:
        if self.instead is not None:
            self.instead(handler)
            return
        asked = parse_qs(urlsplit(handler.path).query)
        assert asked["filter"] == ["gguf"]
        named = asked["search"][0].lower() in "org/tiny-gguf"
        found = [{"id": "org/Tiny-GGUF", "downloads": 1234, "likes": 5, "gated": "manual",
                  "lastModified": "2026-01-02T03:04:05.000Z", "tags": ["gguf"]}]  # fmt: skip
        document = json.dumps(found if named else []).encode()
        answer_with(document, Content_Type="application/json")(handler)

    def _info(self, handler: BaseHTTPRequestHandler) -> None:
        if self.instead is not None:
            self.instead(handler)
            return
        parts = urlsplit(handler.path)
        match = re.fullmatch(r"/api/models/(org/Tiny-GGUF)(?:/revision/(.+))?", parts.path)
        if match is None or not self._allowed(handler):
            answer_with(b'{"error":"x"}', 401, X_Error_Code="RepoNotFound")(handler)
            return
        revision = unquote(match[2] or "main")
        if revision not in ("main", "v2", COMMIT):
            answer_with(b'{"error":"x"}', 404, X_Error_Code="RevisionNotFound")(handler)
            return
        siblings = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith(".gguf"):
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        document = {"id": match[1], "modelId": match[1], "sha": COMMIT, "siblings": siblings}
        document |= self.about
        answer_with(json.dumps(document).encode(), Content_Type="application/json")(handler)

    def _resolve(self, handler: BaseHTTPRequestHandler) -> None:
        if self.gated:
            answer_with(b"", self.gated, X_Error_Code="GatedRepo")(handler)
            return
        if not self._allowed(handler):
            answer_with(b"", 401)(handler)
            return
        path = handler.path.split("/resolve/")[1].partition("/")[2]
        # Another host name is another origin, as the real hub's storage is.
        port = self.server.host.partition(":")[2]
        answer_with(b"", 302, Location=f"http://localhost:{port}/cdn/{path}?sig=abc")(handler)

    def _cdn(self, handler: BaseHTTPRequestHandler) -> None:
        name = unquote(urlsplit(handler.path).path.removeprefix("/cdn/"))
        assert handler.headers.get("Authorization") is None
        self.server.behaviour.content = self.files[name]
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.server._serve(handler, headers)


@contextmanager
def running_hub(files: dict[str, bytes], *, token: str = "hf_secret") -> Iterator[HubServer]:
    """Run a hub with one repository, org/Tiny-GGUF, for the length of a with block."""
    with serving() as server:
        yield HubServer(server, files, token)
