"""`--host` as people write it, against a real daemon, and against what is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from tests.support.daemon import DaemonProcess


def ls(host: str) -> tuple[int, str]:
    """`runnerd ls` at an address."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", host, "ls"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_an_sdks_address(unchanged: DaemonProcess) -> None:
    """With the /v1 that SDKs are given, and without."""
    address = unchanged.address
    for host in (address, f"{address}/v1", f"{address.removeprefix('http://')}/v1"):
        assert ls(host)[0] == 0, host


def test_tls_where_there_is_none(unchanged: DaemonProcess) -> None:
    """It is told what to write, and nobody is to start another daemon."""
    status, said = ls(unchanged.address.replace("http", "https"))
    assert status == 1
    assert f"speaks no TLS, perhaps http: try --host {unchanged.address}" in said
    assert "serve" not in said


async def test_a_server_that_says_nothing() -> None:
    """Its address and its answer are named."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        status, said = await asyncio.to_thread(ls, host)
    assert status == 1
    assert f"http://{host} answered 404 and nothing more; is that the daemon's address?" in said
