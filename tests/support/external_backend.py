"""A third party's backend that keeps its models itself; its engines answer with their model's name.

A daemon finds it by an entry point: `installed` makes the folder that has one, for PYTHONPATH.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import BackendContext
from runnerd.errors import ModelNotFound
from runnerd.sockets.listeners import listen_unix
from tests.support.backends import BackendDouble

NAME = "Some/Model@7b: as the backend calls it"


def installed(folder: Path) -> dict[str, str]:
    """Make a folder with the backend's metadata; return the environment that brings it in."""
    metadata = folder / "keeper-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: keeper\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[runnerd.backends]\nkeeper = tests.support.external_backend:Keeper\n"
    )
    return {"PYTHONPATH": str(folder)}


class Keeper(BackendDouble):
    """Keeps one model."""

    name = "keeper"
    uses_external_model_management = True

    def __init__(self, context: BackendContext) -> None: ...

    def context(self, model: str, config: BackendConfiguration) -> int:
        if model != NAME:
            raise ModelNotFound(f"{model!r} is not kept here", param="model")
        return config.context_size or 0

    async def run(
        self,
        socket: Path,
        model: str,
        model_ref: str,
        mode: BackendMode,
        config: BackendConfiguration,
        *,
        ram_limit: int | None = None,
    ) -> None:
        async def health(request: web.Request) -> web.Response:
            return web.Response()

        async def chat(request: web.Request) -> web.Response:
            message = {"role": "assistant", "content": f"{model}, {config.context_size}"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            return web.json_response({"object": "chat.completion", "choices": [choice]})

        app = web.Application()
        app.add_routes([web.get("/health", health), web.post("/v1/chat/completions", chat)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, listen_unix(socket, mode=0o600, group=None)).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            socket.unlink(missing_ok=True)
