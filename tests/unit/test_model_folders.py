"""Folders whose GGUF files are models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.models.model_folders import ModelFolders
from runnerd.models.store import Store
from tests.support.ggufs import smallest_model, snapshot


class Host:
    """A store, an owner's folder, and who keeps both in step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "theirs"
        self.folder.mkdir()
        self.start()

    def start(self) -> None:
        """As a daemon starts."""
        self.store = Store(self.root / "store")
        self.store.open()
        folders = [self.folder]
        self.folders = ModelFolders(self.store, lambda: folders, self.root / "model_dirs.json")

    async def look(self) -> None:
        """Twice: what is new has to lie still in between."""
        await self.folders.look()
        await self.folders.look()

    def write(self, name: str, extra: int = 0) -> Path:
        """A model's file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(smallest_model() + bytes(extra))
        return path

    @property
    def names(self) -> list[str]:
        """All models that can be used."""
        return sorted(tag for model in self.store.list() for tag in model.tags)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with an empty folder."""
    return Host(tmp_path)


async def test_files_become_models(host: Host) -> None:
    """Under their names, without a copy; what still changes is waited for."""
    host.write("small-Q4_0.gguf")
    await host.folders.look()
    assert host.names == []
    await host.folders.look()
    assert host.names == ["ai/small:q4_0"]
    before = snapshot(host.folder)
    assert host.store.resolve("small:q4_0").weights.resolve() == host.folder / "small-Q4_0.gguf"
    host.start()
    await host.look()
    assert host.names == ["ai/small:q4_0"]
    assert snapshot(host.folder) == before


async def test_a_moved_file_keeps_its_model(host: Host) -> None:
    """Also one that was moved while no daemon ran."""
    path = host.write("small.gguf")
    await host.look()
    path.rename(host.folder / "moved.gguf")
    await host.look()
    assert host.names == ["ai/small:latest"]
    assert host.store.resolve("small").weights.resolve() == host.folder / "moved.gguf"
    (host.folder / "moved.gguf").rename(path)
    host.start()
    await host.look()
    assert host.store.resolve("small").weights.resolve() == path
    assert host.names == ["ai/small:latest"]


async def test_a_file_that_is_gone_is_told_until_it_is_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and to whoever asks for its model."""
    path = host.write("small.gguf")
    await host.look()
    path.rename(host.root / "away.gguf")
    await host.look()
    assert caplog.text.count("was moved or changed") == 1
    with pytest.raises(InvalidModelFile, match=r"small\.gguf was moved or changed"):
        host.store.get("small")
    (host.root / "away.gguf").rename(path)
    await host.look()
    assert host.store.get("small").name == "ai/small:latest"


async def test_a_changed_file_is_another_model_of_the_same_name(host: Host) -> None:
    """What it was before goes, unless it was given a name of its own."""
    path = host.write("small.gguf")
    await host.look()
    first = host.store.get("small").id
    path.write_bytes(smallest_model() + bytes(8))
    await host.look()
    second = host.store.get("small").id
    assert first != second
    assert list(host.store.catalog.entries) == [second]
    path.write_bytes(b"no model")
    await host.look()
    with pytest.raises(InvalidModelFile):
        host.store.get("small")


async def test_what_was_removed_stays_away(host: Host) -> None:
    """Until its file changes."""
    path = host.write("small.gguf")
    await host.look()
    host.store.names.remove("small")
    await host.look()
    host.start()
    await host.look()
    with pytest.raises(ModelNotFound):
        host.store.get("small")
    assert path.is_file()
    os.utime(path, (0, 0))
    await host.look()
    assert host.names == ["ai/small:latest"]


async def test_no_name_is_taken_from_another_model(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Its folder's name goes in front; if that is taken, too, it is told."""
    other = host.root / "other.gguf"
    other.write_bytes(smallest_model() + bytes(16))
    theirs = await host.store.entrance.import_files([other], tag="small")
    host.write("small.gguf")
    await host.look()
    assert host.names == ["ai/small:latest", "ai/theirs-small:latest"]
    assert host.store.get("small").id == theirs.id
    host.store.names.remove("theirs-small")
    host.store.names.tag("small", "theirs-small")
    host.write("small.gguf", extra=1)
    await host.look()
    assert "`runnerd import --in-place" in caplog.text
    assert host.store.get("theirs-small").id == theirs.id


async def test_what_is_no_model_is_told_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """And hashed once."""
    (host.folder / "broken.gguf").write_bytes(b"GGUF")
    await host.look()
    await host.look()
    assert caplog.text.count("WARNING") == 1


async def test_a_record_that_is_damaged_is_made_anew(host: Host) -> None:
    """What it said is found out again."""
    host.write("small.gguf")
    await host.look()
    (host.root / "model_dirs.json").write_text("{")
    host.start()
    await host.look()
    assert host.names == ["ai/small:latest"]
