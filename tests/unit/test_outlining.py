"""Headers are fetched in ranges, and no more of a file than its header takes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models import tiny
from runnerd.models.gguf import read_header
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.models.outlines import Outlines
from runnerd.pulls import outlining
from runnerd.pulls.asker import STRANGER, Asker
from runnerd.pulls.offer import Offer, OfferedFile
from runnerd.pulls.outlining import Outlining


class Content:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def iter_any(self) -> Any:
        for start in range(0, len(self._data), 1000):
            yield self._data[start : start + 1000]


class Server:
    """A file behind a URL; `ranges` says whether it knows ranges."""

    def __init__(self, data: bytes, *, ranges: bool = True) -> None:
        self.data, self.ranges = data, ranges
        self.asked: list[str] = []

    @asynccontextmanager
    async def open(self, headers: dict[str, str]) -> Any:
        self.asked.append(headers["Range"])
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(self.data) - 1)
        response = SimpleNamespace(url=SimpleNamespace(host="h"), content_length=len(self.data))
        if self.ranges:
            response.status, response.content = 206, Content(self.data[first : last + 1])
            response.headers = {"Content-Range": f"bytes {first}-{last}/{len(self.data)}"}
        else:
            response.status, response.content = 200, Content(self.data)
        yield response


class Pulls:
    def __init__(self, *files: OfferedFile) -> None:
        self._offer = Offer(files)

    async def offer(self, reference: str, *, asker: Asker) -> Offer:
        return self._offer


def file(server: Server, type: str = GGUF_TYPE) -> OfferedFile:
    return OfferedFile("m.gguf", type, cast(Any, server))


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    tiny.write_completion_model(tmp_path / "m.gguf")
    return (tmp_path / "m.gguf").read_bytes()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes) -> None:
    header = read_header(tmp_path / "m.gguf").header_bytes
    monkeypatch.setattr(outlining, "_STEPS", (100, header // 2, header + 50, 10**9))


def made(tmp_path: Path, *files: OfferedFile) -> Outlining:
    outlines = Outlines(cast(Any, None), tmp_path / "outlines")
    return Outlining(cast(Any, Pulls(*files)), outlines)


@pytest.mark.parametrize("ranges", [True, False])
async def test_as_much_as_the_header_takes(tmp_path: Path, data: bytes, ranges: bool) -> None:
    """Step by step, each byte once where the server knows ranges; and nothing stays."""
    server = Server(data, ranges=ranges)
    async with made(tmp_path, file(server)).outline("m", asker=STRANGER) as outline:
        assert outline.files.facts.context_length > 0
        assert outline.files.weights_bytes == outline.bytes == len(data)
        assert outline.files.weights.stat().st_size == len(data)
    assert len(server.asked) == 3
    assert server.asked[1].startswith("bytes=100-")
    assert list((tmp_path / "outlines").iterdir()) == []


async def test_several_files(tmp_path: Path, data: bytes) -> None:
    """An engine finds the further ones by their names."""
    servers = [Server(data), Server(data)]
    outlining = made(tmp_path, *map(file, servers))
    async with outlining.outline("m", asker=STRANGER) as outline:
        assert outline.files.weights.name == "model-00001-of-00002.gguf"
        assert outline.files.weights.with_name("model-00002-of-00002.gguf").exists()
        assert outline.files.weights_bytes == 2 * len(data)


async def test_what_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    """No weights, no model, half a file: told, and nothing stays."""
    for each in (
        file(Server(data), MMPROJ_TYPE),
        file(Server(b"<html>")),
        file(Server(data[:300])),
    ):
        with pytest.raises(InvalidModelFile):
            async with made(tmp_path, each).outline("m", asker=STRANGER):
                pass
    assert not any((tmp_path / "outlines").iterdir())
