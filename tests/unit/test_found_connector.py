"""aiohttp's clients do not speak to strangers either, over real sockets."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from runnerd.sockets.found_connector import FoundConnector


async def test_each_connection_is_checked(tmp_path: Path) -> None:
    """As long as the folder is ours alone requests go through; then none is sent."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(headers={"Connection": "close"})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    folder = tmp_path / "runnerd"
    folder.mkdir(mode=0o755)
    await web.UnixSite(runner, str(folder / "s")).start()
    async with aiohttp.ClientSession(connector=FoundConnector(str(folder / "s"))) as client:
        async with client.get("http://localhost/one") as response:
            assert response.status == 200
        folder.chmod(0o777)
        with pytest.raises(aiohttp.ClientError, match="may be changed by"):
            await client.get("http://localhost/two")
    await runner.cleanup()
    (folder / "s").unlink(missing_ok=True)
    assert seen == ["/one"]
