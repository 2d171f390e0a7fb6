"""The daemon is killed amid a file that comes, and amid one that goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for
from tests.support.wire import Wire

pytestmark = [pytest.mark.engine, pytest.mark.long]

LINES = 400
CHAT = "/v1/chat/completions"
HEAD = (
    b"--edge\r\nContent-Disposition: form-data; name=purpose\r\n\r\nbatch\r\n"
    b"--edge\r\nContent-Disposition: form-data; name=file; filename=in.jsonl\r\n\r\n"
)


def content() -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    lines = [
        {"custom_id": f"{n} {'x' * 400}", "method": "POST", "url": CHAT, "body": body}
        for n in range(LINES)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def upload(form: bytes, length: int) -> bytes:
    return (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n%s" % (length, form)
    )


def batch(client: httpx.Client, id: str) -> dict[str, Any]:
    return dict(client.get(f"/v1/batches/{id}").json())


def test_amid_files(tmp_path: Path) -> None:
    """Of one that came in part nothing is left; what goes out can be had whole afterwards, and each
    line has one result.
    """
    tiny.write_completion_model(tmp_path / "m.gguf")
    with running(tmp_path / "d") as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        _killed_amid_the_upload(daemon)
        client = daemon.http
        assert client.get("/v1/files").json()["data"] == []
        assert list((daemon.state_dir / "files").iterdir()) == []
        form = HEAD + content() + b"\r\n--edge--\r\n"
        with Wire(daemon.socket) as wire:
            wire.send(upload(form, len(form)))
            file = wire.read().json()["id"]
        document = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        id = client.post("/v1/batches", json=document).json()["id"]
        wait_for(lambda: batch(client, id)["status"] == "completed", "the batch", limit=120)
        output = str(batch(client, id)["output_file_id"])
        _killed_amid_the_output(daemon, output)
        lines = daemon.http.get(f"/v1/files/{output}/content").text.splitlines()
        found = [json.loads(line)["custom_id"].split()[0] for line in lines]
        assert sorted(found, key=int) == [str(n) for n in range(LINES)]


def _killed_amid_the_upload(daemon: DaemonProcess) -> None:
    folder = daemon.state_dir / "files"
    with Wire(daemon.socket) as wire:
        wire.send(upload(HEAD + 4 * content(), 10**7))
        wait_for(
            lambda: folder.is_dir() and any(path.stat().st_size for path in folder.iterdir()),
            "some of the file",
        )
        daemon.kill()
        assert wire.ended()
    daemon.start()


def _killed_amid_the_output(daemon: DaemonProcess, output: str) -> None:
    with (
        daemon.client() as client,
        client.stream("GET", f"/v1/files/{output}/content") as response,
    ):
        pieces = response.iter_raw(1000)
        assert (response.status_code, len(next(pieces))) == (200, 1000)
        daemon.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    daemon.start()
