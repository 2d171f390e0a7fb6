"""A stand-in for llama-server with faults: the same command line, a real process, a real socket.

    FAKE --faults A,B ... then what llama-server gets

    never-listens     runs and opens no socket
    never-ready       /health stays 503
    exit-at-once      prints a reason and ends with status 1 before it listens
    abort-at-once     the same, by SIGABRT
    crash-first-load  ends by SIGSEGV before it listens, once
    out-of-memory     the same, for want of GPU memory
    ignore-sigterm    ends by SIGKILL only
    die-mid-stream    kills itself after the third chunk of a stream
    slow-stream       streams until the client goes away
    slow-slots        begins to save a slot and does not end
    full-disk         writes half a slot and says that it could not
    abort-on-restore  aborts when it is to read a slot
    flood             prints without end
    close-output      closes its output and lives on
    grandchild        has a child in its group that ignores SIGTERM and holds the output
    escaped-child     the same in a session of its own; both print its pid

A request can ask for any bytes as its response, whatever the faults:

    "raw": TEXT       what is sent instead of a response, as Latin-1
    "first": TEXT     what is sent before it, once
    "times": N        how often
    "then": "close"   and next: close, hold (until the client has gone), die, abort, work (for ever,
                      in the one thread that answers /slots), spin (before it gets there), batch
                      (for "seconds", or ever, and /slots is answered meanwhile), prepare (for
                      "seconds", before any slot has it); default: go on

Of an API whose requests are translated these members stand, as JSON, in the text of the prompt.

Standard library only; started with -I.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import signal
import socketserver
import sys
import threading
import time

HELP = (
    "--host (or a Unix socket) --list-devices --model --alias --no-ui --offline --ctx-size"
    " --kv-unified --embeddings --slot-save-path"
)

DEVICES = """Available devices:
  CUDA0: NVIDIA H200 (143771 MiB, 142983 MiB free)
  CUDA1: NVIDIA H200 (143771 MiB, 142983 MiB free)
"""


WORK = threading.Lock()
"""Held while the working thread works."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /health and streams or answers everything else."""

    protocol_version = "HTTP/1.1"
    faults: frozenset[str] = frozenset()
    slots = ""
    asked = False
    requests = 0  # that are worked on

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, file=sys.stderr, flush=True)

    def do_GET(self) -> None:
        if self.path == "/slots":
            with WORK:
                slot = {"id": 0, "n_prompt_tokens": 500 if Handler.asked else 0}
                self._response(200, [{**slot, "is_processing": Handler.requests > 0}])
            return
        ready = "never-ready" not in self.faults
        self._response(200 if ready else 503, {"status": "ok" if ready else "loading"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        Handler.asked = Handler.asked or not self.path.startswith("/slots/")
        if self.path.startswith("/slots/"):
            self._act_on_slot(body)
            return
        Handler.requests += 1
        try:
            self._respond(body | told_in_text(body))
        finally:
            Handler.requests -= 1

    def _respond(self, body: dict[str, object]) -> None:
        if "raw" in body:
            self._raw(body)
        elif body.get("stream"):
            self._stream(int(str(body.get("max_tokens") or 8)))
        else:
            document = {"object": "chat.completion", "echo": body, "path": self.path}
            self._response(200, document | {"request_id": self.headers.get("X-Correlation-Id")})

    def _act_on_slot(self, body: dict[str, object]) -> None:
        if self.path.endswith("restore"):
            if "abort-on-restore" in self.faults:
                os.abort()
            self._response(200, {"n_restored": 500})
            return
        with open(os.path.join(self.slots, str(body["filename"])), "ab") as file:
            file.write(b"what was said")
        if "slow-slots" in self.faults:
            self.connection.recv(1)
        if "full-disk" in self.faults:
            self._response(500, {"error": {"message": "Unable to save slot"}})
        else:
            self._response(200, {"n_saved": 500})

    def _raw(self, body: dict[str, object]) -> None:
        piece = str(body["raw"]).encode("latin-1")
        try:
            self.wfile.write(str(body.get("first") or "").encode("latin-1"))
            for _ in range(int(str(body.get("times") or 1))):
                self.wfile.write(piece)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        then = body.get("then")
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if then == "abort":
            os.abort()
        if then == "spin":
            Handler.requests = 0
        if then in ("work", "spin"):
            self._hang(works=then == "work")
        if then in ("batch", "prepare"):
            self._compute(float(str(body.get("seconds") or 3600)), in_slot=then == "batch")
        if then == "hold":
            self.connection.recv(1)
        if then in ("close", "hold"):
            self.close_connection = True

    def _hang(self, *, works: bool) -> None:
        with WORK if works else contextlib.nullcontext():
            while True:
                pass

    def _compute(self, seconds: float, *, in_slot: bool) -> None:
        Handler.requests -= not in_slot
        time.sleep(seconds)
        Handler.requests += not in_slot
        self._stream(1)

    def _response(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, chunks: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        sent = 0
        try:
            while "slow-stream" in self.faults or sent < chunks:
                self._chunk(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
                sent += 1
                if "die-mid-stream" in self.faults and sent == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "slow-stream" in self.faults:
                    time.sleep(0.01)
            self._chunk(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            print(f"client gone after {sent} chunks", file=sys.stderr, flush=True)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def told_in_text(body: dict[str, object]) -> dict[str, object]:
    """What the text of the latest message, or of the prompt, asks for."""
    text = body.get("prompt")
    if isinstance(messages := body.get("messages"), list) and messages:
        text = messages[-1].get("content")
    if isinstance(items := body.get("input"), list) and items:
        text = items[-1] if isinstance(items[-1], str) else items[-1].get("content")
        text = text[-1].get("text") if isinstance(text, list) else text
    if isinstance(text, str) and text.startswith(('{"raw"', '{"first"')):
        return dict(json.loads(text))
    return {}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
        connection, _ = super().get_request()
        return connection, ("unix", 0)

    def handle_error(self, request: object, client_address: object) -> None:
        print(f"a request went wrong: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)


def end_at_once(faults: frozenset[str], folder: str) -> None:
    """End before anything listens, as a model that cannot be loaded does."""
    crashed = os.path.join(folder, "crashed")
    if "crash-first-load" in faults and not os.path.exists(crashed):
        open(crashed, "x").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    if "out-of-memory" in faults:
        print("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")
        sys.exit(1)
    if "exit-at-once" in faults or "abort-at-once" in faults:
        print("0.00.001.000 I srv  load_model: loading model", file=sys.stderr)
        print(
            "0.00.002.000 E llama_model_load: error loading model: unknown model architecture: 'x'",
            file=sys.stderr,
            flush=True,
        )
        if "abort-at-once" in faults:
            os.abort()
        sys.exit(1)


def spawn_child(*, own_session: bool) -> None:
    """Fork a child that ignores SIGTERM and keeps the output open."""
    pid = os.fork()
    if pid:
        print(f"child {pid}.", flush=True)
        return
    if own_session:
        os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def flood() -> None:
    line = b"x" * 99 + b"\n"
    while True:
        os.write(1, line * 600)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--faults", default="")
    parser.add_argument("--folder", default="")
    parser.add_argument("--host", default="")
    parser.add_argument("--slot-save-path", default="")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--help", action="store_true")
    parser.add_argument("--list-devices", action="store_true")
    options, _ = parser.parse_known_args()
    faults = frozenset(options.faults.split(","))
    if options.version or options.help:
        print("version: fake-1 (build 1, commit 1234567)" if options.version else HELP)
        return
    if options.list_devices:
        print(DEVICES)
        return
    end_at_once(faults, options.folder)
    if "ignore-sigterm" in faults:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for fault in faults & {"grandchild", "escaped-child"}:
        spawn_child(own_session=fault == "escaped-child")
    if "flood" in faults:
        threading.Thread(target=flood, daemon=True).start()
    if "close-output" in faults:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    while "never-listens" in faults:
        signal.pause()
    if "never-ready" not in faults:
        print("0.00.003.000 I srv  llama_server: model loaded", file=sys.stderr, flush=True)
    Handler.faults = faults
    Handler.slots = options.slot_save_path
    Server(options.host, Handler).serve_forever()


if __name__ == "__main__":
    main()
