"""A backend whose model's name, and all that it says, is an attack on a page that shows it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiohttp import web

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import BackendContext
from runnerd.errors import ModelNotFound
from runnerd.sockets.listeners import listen_unix
from tests.support.backends import BackendDouble

ATTACK = (
    "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    "<svg/onload=document.title='pwned'><iframe srcdoc=x></iframe>"
)
NAME = f"a {ATTACK}"
ANSWER = (
    f"# {ATTACK}\n\n{ATTACK}\n\n[link](javascript:document.title='pwned') ![x](http://127.0.0.1:9/x)"
    f"\n\n- {ATTACK}\n\n```html\n{ATTACK}\n```"
    f"\n\n| {ATTACK} | b |\n|---|---|\n| **{ATTACK}** | `c` |"
)
THOUGHT = f"thinking {ATTACK}"


def installed(folder: Path) -> dict[str, str]:
    """Make a folder with the backend's metadata; return the environment that makes it the usual."""
    metadata = folder / "hostile-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[runnerd.backends]\nhostile = tests.support.hostile_backend:Hostile\n"
    )
    return {"PYTHONPATH": str(folder), "RUNNERD_DEFAULT_BACKEND": "hostile"}


class Hostile(BackendDouble):
    """Keeps one model."""

    name = "hostile"
    uses_external_model_management = True

    def __init__(self, context: BackendContext) -> None: ...

    def context(self, model: str, config: BackendConfiguration) -> int:
        if model != NAME:
            raise ModelNotFound(f"{model!r} is not kept here", param="model")
        return 0

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
        app = web.Application()
        app.add_routes([web.get("/health", _health), web.post("/v1/chat/completions", _chat)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, listen_unix(socket, mode=0o600, group=None)).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            socket.unlink(missing_ok=True)


async def _health(request: web.Request) -> web.Response:
    return web.Response()


async def _chat(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    call = {
        "index": 0,
        "id": ATTACK,
        "type": "function",
        "function": {"name": ATTACK, "arguments": ATTACK},
    }
    deltas = [
        {"role": "assistant", "reasoning_content": THOUGHT},
        *({"content": part} for part in (ANSWER[:40], ANSWER[40:])),
        {"tool_calls": [call]},
    ]
    for delta in deltas:
        await response.write(_event({"index": 0, "delta": delta, "finish_reason": None}))
    await response.write(_event({"index": 0, "delta": {}, "finish_reason": "stop"}))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _event(choice: dict[str, object]) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
