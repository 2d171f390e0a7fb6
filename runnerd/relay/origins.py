"""Which web pages and apps may use the daemon from a browser, by their origin.

A pattern is `SCHEME://HOST[:PORT]`; the host may be `*` or `*.DOMAIN` and the port `*`.  A host of
`*` alone stands for every host with any port, and `*` by itself for every page, wherever it is
from.  Anything else is refused when the daemon starts, instead of allowing nothing in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from runnerd.errors import StartupError

# Pages that were served by this machine, or by the one that the browser runs on, and the schemes
# that programs give their own pages: no web site can have either.
_LOCAL = re.compile(
    r"https?://(?:localhost|[a-z0-9.-]+\.localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?"
    r"|(?:app|capacitor|ionic|tauri|vscode-file|vscode-webview)://[!-~]*"
)
_PATTERN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\*|[0-9]{1,5}))?/?"
)
_PAGE = re.compile(r"https?://(?P<host>\[[0-9a-f:.]+\]|[^:/?#@]+)(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_WEB_SITE = re.compile(r"(?:https?|ftp|file|data|blob)://.*|null")


class Origins:
    """The origins that are allowed.  Raises StartupError for an entry that is no pattern.

    `local` also allows the pages and apps that only somebody at this machine, or at the one that
    the browser runs on, can provide.
    """

    def __init__(self, allowed: Iterable[str] = (), *, local: bool = True) -> None:
        entries = [entry.strip().lower() for entry in allowed]
        self.any = "*" in entries
        self._local = local
        patterns = [_regex(entry) for entry in entries if entry != "*"]
        self._allowed = re.compile("|".join(patterns)) if patterns else None

    def allows(self, origin: str, host: str | None) -> bool:
        """Whether a page of this origin may use us; `host` is our name that it did so by, if
        a page at that name can only be one of this machine.
        """
        if self.any or (self._allowed is not None and self._allowed.fullmatch(origin)):
            return True
        if not self._local:
            return False
        page = _PAGE.fullmatch(origin)
        at_our_name = page is not None and host is not None and page["host"].strip("[]") == host
        return at_our_name or _LOCAL.fullmatch(origin) is not None


def is_program(origin: str) -> bool:
    """Whether an origin is an installed program's (an app, an extension), and no web site's."""
    return "://" in origin and not _WEB_SITE.fullmatch(origin)


def _regex(entry: str) -> str:
    if entry == "null":  # files and sandboxed frames: whoever lists it wants that
        return "null"
    found = _PATTERN.fullmatch(entry)
    if found is None:
        raise StartupError(
            f"allowed_origins: {entry!r} is not an origin: write https://chat.example.org,"
            " http://gpu:*, https://*.example.org, chrome-extension://*, or * for every page"
        )
    scheme, host, port = found["scheme"], found["host"], found["port"]
    name = re.escape(host).replace(r"\*", "[!-~]+" if host == "*" else "[a-z0-9_.-]+")
    if port == "*" or (host == "*" and port is None):
        name += "(?::[0-9]{1,5})?"
    elif port is not None and port != _DEFAULT_PORTS.get(scheme):
        name += f":{port}"
    return f"{re.escape(scheme)}://{name}"
