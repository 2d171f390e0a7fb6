"""The daemon's address as people write it.

    unix:///path, /path, ./path, unix:/path     a Unix socket
    http://HOST[:PORT], https://HOST[:PORT]     as everywhere: port 80 or 443 where none is said
    HOST:PORT, HOST, [IPV6]:PORT                http; port 12434 where none is said

What comes behind a port, such as the /v1 of the addresses that are given to SDKs, is left out.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from runnerd.errors import ClientError

DEFAULT_PORT = 12434
_PORT_ALONE = re.compile(r":?[0-9]*")
_WITH_PORT = re.compile(r"(\[[^\]/]+\]|[^/:]+):[0-9]+(/.*)?", re.DOTALL)


def read_address(text: str) -> str:
    """An address as unix:///path or http(s)://host[:port].  Raises errors.ClientError."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() == "unix":
        return unix_address(rest)
    if separator:
        return _web_address(text, text)
    if text.startswith("unix:"):
        return unix_address(text.removeprefix("unix:"))
    if _is_socket(text) or ("/" in text and not _WITH_PORT.fullmatch(text)):
        return unix_address(text)
    host = text.partition("/")[0]
    if _PORT_ALONE.fullmatch(host):
        port = host.lstrip(":") or str(DEFAULT_PORT)
        raise ClientError(f"{text!r} names no host: say HOST:PORT, such as --host 127.0.0.1:{port}")
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    if not _WITH_PORT.fullmatch(host):
        host = f"{host.removesuffix(':')}:{DEFAULT_PORT}"
    return _web_address(f"http://{host}", text)


def unix_address(path: str) -> str:
    """The address of a Unix socket.  Raises errors.ClientError for none."""
    absolute = str(Path(path).absolute())
    if not path or "\0" in path or absolute != absolute.rstrip():
        raise ClientError("the address names no socket: say unix:///PATH")
    return f"unix://{absolute}"


def _web_address(address: str, said: str) -> str:
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, brackets without an address
        known = False
    if not known or re.search(r"[\s\0-\x1f]", parts.netloc):
        raise ClientError(
            f"{said!r} is no address of a daemon: say unix:///PATH, http(s)://HOST:PORT or"
            " HOST:PORT"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_socket(text: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(text).st_mode)
    except (OSError, ValueError):
        return False
