"""`runnerd batch`: a file of requests, one on each line, as OpenAI's batches have them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from runnerd.cli.client import Client
from runnerd.cli.output_files import check_output, output_file
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError

_POLL = 0.3  # seconds between looks at how far it is
_PIECE = 256 * 2**10
_ENDED = ("completed", "failed", "expired", "cancelled")


def batch(options: argparse.Namespace) -> int:
    """Have the requests of a file answered, and write what came of them.

    0 if all of them were; Ctrl-C cancels the batch.
    """
    if options.output is not None:
        check_output(options.output, force=options.force)
    client = Client(options.host)
    file = _upload(client, options.file)
    endpoint = options.endpoint or _endpoint(options.file)
    document = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "30d"}
    made = None
    try:
        with _interrupted_later():  # what was made and is not known cannot be cancelled
            made = client.json("POST", "/v1/batches", document)
        done = _followed(client, made["id"], quiet=options.json)
    except KeyboardInterrupt:
        if made is None:
            raise
        counts = client.json("POST", f"/v1/batches/{made['id']}/cancel")["request_counts"]
        print(
            f"\nthe batch is cancelled; {counts['completed']} of {counts['total']} requests were"
            " answered, and nothing was written",
            file=sys.stderr,
        )
        raise
    _write(client, done, options.output)
    client.json("DELETE", f"/v1/files/{file['id']}")
    if options.json:
        print_json(done)
    for fault in (done["errors"] or {"data": []})["data"]:
        line = "" if fault["line"] is None else f"line {fault['line']}: "
        print(f"{line}{fault['message']}", file=sys.stderr)
    counts = done["request_counts"]
    if counts["failed"]:
        print(f"{counts['failed']} of {counts['total']} requests failed", file=sys.stderr)
    return 0 if done["status"] == "completed" and not counts["failed"] else 1


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let a first Ctrl-C wait until the block is over; a second one does not."""
    came = False

    def note(*_: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _endpoint(path: Path) -> str:
    """The endpoint that the first request names."""
    with open(path, "rb") as file:
        for line in file:
            if line.strip():
                with contextlib.suppress(ValueError):
                    request = json.loads(line)
                    if isinstance(request, dict) and isinstance(request.get("url"), str):
                        return str(request["url"])
                break
    raise ClientError(f"the first line of {path} is no request with a url; --endpoint says which")


def _upload(client: Client, path: Path) -> Any:
    boundary = os.urandom(16).hex()
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    with open(path, "rb") as file:
        size = len(head) + os.fstat(file.fileno()).st_size + len(tail)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(size),
        }
        body = _form(head, file, tail)
        with client.open("POST", "/v1/files", headers=headers, body=body) as response:
            return json.loads(response.read())


def _form(head: bytes, file: BinaryIO, tail: bytes) -> Iterator[bytes]:
    yield head
    while piece := file.read(_PIECE):
        yield piece
    yield tail


def _followed(client: Client, id: str, *, quiet: bool) -> Any:
    """Show how far a batch is until it has ended."""
    with _bar(quiet=quiet) as advance:
        while True:
            found = client.json("GET", f"/v1/batches/{id}")
            counts = found["request_counts"]
            advance(counts["completed"] + counts["failed"], counts["total"])
            if found["status"] in _ENDED:
                return found
            time.sleep(_POLL)


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    ) as progress:
        task = progress.add_task("requests", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def _write(client: Client, done: Any, output: Path | None) -> None:
    """Write the results, what has failed among them, to a file or standard output."""
    with contextlib.ExitStack() as stack:
        target: BinaryIO = sys.stdout.buffer
        if output is not None:
            target = stack.enter_context(output_file(output))
        for id in (done["output_file_id"], done["error_file_id"]):
            if id is not None:
                with client.open("GET", f"/v1/files/{id}/content") as response:
                    while piece := response.read(_PIECE):
                        target.write(piece)
        target.flush()
