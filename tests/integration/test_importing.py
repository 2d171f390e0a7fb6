"""Taking in what lies on the host: which models there are in a folder, and who may know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS


@pytest.fixture
def daemon(unchanged: DaemonProcess) -> Iterator[DaemonProcess]:
    """A daemon with an empty store, which is still empty after the test."""
    yield unchanged
    assert unchanged.http.get("/models").json() == []


def test_the_models_of_a_folder(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Those below it, too, each with its file, which can be imported as it is named."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.gguf").write_bytes(b"1234")
    (folder / "deep" / "b.gguf").write_bytes(b"12")
    (folder / "read.me").write_bytes(b"1")
    found = daemon.http.get("/runnerd/files", params={"path": str(folder)})
    assert [(each["model"], each["size_bytes"], each["file"]) for each in found.json()] == [
        ("a", 4, str(folder / "a.gguf")),
        ("b", 2, str(folder / "deep" / "b.gguf")),
    ]
    one = daemon.http.get("/runnerd/files", params={"path": str(folder / "a.gguf")}).json()
    assert [each["file"] for each in one] == [str(folder / "a.gguf")]
    unfit = daemon.http.post("/models/import", json={"path": one[0]["file"]})
    assert unfit.json()["error"]["code"] == "invalid_model_file"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere/at/all", 404), ("relative", 400), ("/a\0b", 400), ("", 400), (None, 400)],
)
def test_what_is_no_folder(daemon: DaemonProcess, path: str | None, status: int) -> None:
    """It is said what is wrong."""
    params = {} if path is None else {"path": path}
    assert daemon.http.get("/runnerd/files", params=params).status_code == status
    if status == 400 and path is not None:
        assert daemon.http.post("/models/import", json={"path": path}).status_code == 400


def test_a_folder_without_models(daemon: DaemonProcess, tmp_path: Path) -> None:
    """That is no empty list, which could be a mistake in the path."""
    (tmp_path / "empty").mkdir()
    response = daemon.http.get("/runnerd/files", params={"path": str(tmp_path / "empty")})
    assert response.status_code == 404
    assert "no GGUF file" in response.json()["error"]["message"]


def test_nobody_is_told_over_tcp(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The daemon may read what others may not."""
    response = httpx.get(
        f"{daemon.address}/runnerd/files", params={"path": str(tmp_path)}, verify=NO_TLS
    )
    assert response.status_code == 403
    with daemon.stranger("ann", may=["superuser"]) as ann:
        assert ann.get("/runnerd/files", params={"path": str(tmp_path)}).status_code == 403


def test_nobody_elses_key_is_the_owners_word(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A proxy that runs as the daemon's user passes on what others ask, on the Unix socket."""
    (tmp_path / "a.gguf").write_bytes(b"1234")
    with daemon.stranger("bob", may=["superuser"]) as bob:
        key = {"Authorization": bob.headers["Authorization"]}
        files = daemon.http.get("/runnerd/files", params={"path": str(tmp_path)}, headers=key)
        path = {"path": str(tmp_path / "a.gguf")}
        taken = daemon.http.post("/models/import", json=path, headers=key)
    assert (files.status_code, taken.status_code) == (403, 403)


def test_what_cannot_be_told_is_passed_over(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Names that are no text, links to nowhere, pipes and devices; the rest is told."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(b"1234")
    (folder / os.fsdecode(b"bad\xff.gguf")).write_bytes(b"1234")
    below = folder / os.fsdecode(b"deep\xff")
    below.mkdir()
    (below / "c.gguf").write_bytes(b"1234")
    (folder / "b-00001-of-00002.gguf").write_bytes(b"12")
    (folder / "b-00002-of-00002.gguf").symlink_to(tmp_path / "none")
    (folder / "loop.gguf").symlink_to(folder / "loop.gguf")
    (folder / "zero.gguf").symlink_to("/dev/zero")
    os.mkfifo(folder / "mmproj.gguf")
    response = daemon.http.get("/runnerd/files", params={"path": str(folder)})
    assert response.status_code == 200, response.text
    assert [(each["model"], each["mmproj"]) for each in response.json()] == [
        ("a", None),
        ("b-00001-of-00002", None),
    ]
