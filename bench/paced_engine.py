"""A llama-server that loads and computes for as long as it is told, and takes no processor for it.

    paced_engine.py LOAD_SECONDS ... then what llama-server gets

The last message of a chat says for how many seconds to compute.  The response says when that began
and when this engine was started, both in Unix time.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
import threading
import time

_HELP = (
    "--host (or a Unix socket) --model --alias --no-ui --offline --ctx-size --kv-unified"
    " --embeddings"
)
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_STARTED = time.time()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    load = 0.0
    running = 0
    lock = threading.Lock()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        ready = time.time() - _STARTED >= self.load
        if self.path == "/slots":
            self._respond(200, [{"id": 0, "is_processing": Handler.running > 0}])
        else:
            self._respond(200 if ready else 503, {"status": "ok" if ready else "loading"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        began = time.time()
        with self.lock:
            Handler.running += 1
        time.sleep(float(body["messages"][-1]["content"]))
        with self.lock:
            Handler.running -= 1
        text = f"{began} {_STARTED}"
        if body.get("stream"):
            self._stream(text)
            return
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._respond(200, {"object": "chat.completion", "choices": [choice], "usage": _USAGE})

    def _stream(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for choice, more in (
            ({"delta": {"role": "assistant", "content": text}, "finish_reason": None}, {}),
            ({"delta": {}, "finish_reason": "stop"}, {"usage": _USAGE}),
        ):
            chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}], **more}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def _respond(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Behave as `llama-server --host PATH.sock ...`."""
    if "--version" in sys.argv or "--help" in sys.argv:
        print("version: paced-1 (build 1, commit 1234567)" if "--version" in sys.argv else _HELP)
        return
    Handler.load = float(sys.argv[1])
    path = sys.argv[sys.argv.index("--host") + 1]
    if os.path.exists(path):
        os.unlink(path)
    with Server(path, Handler) as server:
        print("0.00.003.000 I srv  llama_server: model loaded", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
