"""The fallback's child process: llama_cpp.server's app, made to behave as a runner must.

Four things are added to what llama-cpp-python offers.  It listens on a Unix socket.  The socket
opens at once and `GET /health` answers 503 until the model is loaded.  A client that goes away
stops its generation: the app itself notices only between the chunks of a stream.  And a model that
cannot be loaded ends the process.

Started as a script with one JSON argument, by an interpreter with -I: it imports nothing of
runnerd.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_gone: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("gone", default=None)


class ClientGone(Exception):
    """Ends a generation that nobody waits for."""


class Loader:
    """Loads the model in a thread and becomes the app when it is there."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._app: Application | None = None

    def start(self) -> None:
        threading.Thread(target=self._load, name="load", daemon=True).start()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            return
        elif self._app is None:
            await _response(
                send,
                503,
                {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
            )
        elif scope["path"] == "/health":
            await _response(send, 200, {"status": "ok"})
        else:
            await _Watched(self._app).serve(scope, receive, send)

    def _load(self) -> None:
        try:
            self._app = _make_app(self._plan)
        except BaseException:
            _explain()
            os._exit(1)  # from a thread: sys.exit() would end only the thread
        print("model loaded", file=sys.stderr, flush=True)


def _explain() -> None:
    """Print why loading failed; for llama.cpp's own refusal its log has said it already."""
    kind, error, _ = sys.exc_info()
    if kind is ValueError:
        print(f"ValueError: {error}", file=sys.stderr, flush=True)
    else:
        traceback.print_exc()
        sys.stderr.flush()


def _make_app(plan: dict[str, Any]) -> Application:
    from llama_cpp.server import app as server
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    application = server.create_app(
        # A new request must not end a running stream.
        server_settings=ServerSettings(interrupt_requests=False),
        model_settings=[ModelSettings(**plan["model"])],
    )
    assert server._llama_proxy is not None
    llama = server._llama_proxy()
    llama.model_path = plan["model"]["model_alias"]  # what answers show when a request names none
    _stop_when_gone(llama)
    _normalize_embeddings(llama)
    if plan["chat_template"] is not None:
        with open(plan["chat_template"], encoding="utf-8") as file:
            _use_template(llama, file.read())
    result: Application = application
    return result


def _stop_when_gone(llama: Any) -> None:
    """Make every evaluation look first whether the client is still there."""
    evaluate = llama.eval

    def watched(tokens: Any) -> Any:
        gone = _gone.get()
        if gone is not None and gone.is_set():
            raise ClientGone
        return evaluate(tokens)

    llama.eval = watched


def _normalize_embeddings(llama: Any) -> None:
    """Make embeddings unit vectors, as the native server does."""
    embed = llama.embed

    def normalized(*args: Any, **options: Any) -> Any:
        return embed(*args, **{"normalize": True, **options})

    llama.embed = normalized


def _use_template(llama: Any, template: str) -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    def text(token: int) -> str:
        return llama._model.token_get_text(token) if token != -1 else ""

    llama.chat_handler = Jinja2ChatFormatter(
        template=template,
        eos_token=text(llama.token_eos()),
        bos_token=text(llama.token_bos()),
        stop_token_ids=[llama.token_eos()],
    ).to_chat_handler()


class _Watched:
    """One request: its body is read first, then its connection is watched."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._gone = threading.Event()
        self._disconnected = asyncio.Event()
        self._body: list[Message] = []

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            self._body.append(message)
            if not message.get("more_body"):
                break
        self._body.reverse()
        _gone.set(self._gone)  # threads that the app starts for this request inherit it
        watcher = asyncio.create_task(self._watch(receive), name="watch")  # noqa: TID251
        try:
            await self._app(scope, self._receive, send)
        except* ClientGone:
            pass
        finally:
            watcher.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self._disconnected.set()

    async def _receive(self) -> Message:
        if self._body:
            return self._body.pop()
        await self._disconnected.wait()
        return {"type": "http.disconnect"}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _response(send: Send, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def main() -> None:
    """Serve the plan given as the one argument until SIGTERM."""
    import uvicorn

    plan = json.loads(sys.argv[1])
    loader = Loader(plan)
    loader.start()
    uvicorn.run(
        loader,
        uds=plan["socket"],
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
