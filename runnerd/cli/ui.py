"""`runnerd ui`: the owner's page in a browser, over the daemon's Unix socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import webbrowser

import aiohttp

from runnerd import threads
from runnerd.cli.client import Client, credential
from runnerd.cli.page_forwarder import PageForwarder
from runnerd.errors import ClientError, StartupError
from runnerd.sockets.found_connector import unix_connector
from runnerd.sockets.sock_diag import SockDiag


def ui(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, and open it where there is a desktop."""
    client = Client(options.host)
    client.open(
        "GET", "/ui", headers={"Accept": "text/html"}
    ).close()  # says why, if it is not there
    diag = SockDiag()
    try:
        if (reason := diag.why_not()) is not None:
            raise StartupError(
                f"this host does not tell whose program is at the other end of a connection"
                f" ({reason}), so the page would be open to all its users; use the daemon's own"
                " address with a key instead: http://127.0.0.1:12434/ui"
            )
        asyncio.run(_serve(client, diag, options))
    finally:
        diag.close()
    return 0


async def _serve(client: Client, diag: SockDiag, options: argparse.Namespace) -> None:
    address = client.address
    path = address.removeprefix("unix://") if address.startswith("unix://") else ""
    connector = unix_connector(path, found=client.found) if path else aiohttp.TCPConnector()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(each, done.set)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as daemon:
        forwarder = PageForwarder(
            daemon,
            base="http://localhost" if path else address.rstrip("/"),
            peers=diag,
            uids=_uids(),
            headers=credential(),
            socket=path,
        )
        try:
            async with forwarder.serving(options.port) as url:
                print(f"The page, for the first browser that opens it:\n\n    {url}\n", flush=True)
                print("It is there until this command ends (Ctrl-C).", flush=True)
                if not options.no_browser and _has_desktop():
                    await threads.run(_open, url)
                await done.wait()
        except OSError as error:
            raise ClientError(f"port {options.port} cannot be used: {error.strerror}") from error


def _uids() -> set[int]:
    """Whose browser may come: ours, root's, and that of whoever has become root with sudo."""
    uids = {0, os.getuid()}
    behind = os.environ.get("SUDO_UID", "")
    if os.getuid() == 0 and behind.isascii() and behind.isdigit():
        uids.add(int(behind))
    return uids


def _has_desktop() -> bool:
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _open(url: str) -> None:
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(url)
