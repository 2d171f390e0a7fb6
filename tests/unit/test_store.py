"""The store: imports, names, removal, crashes and damage."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from runnerd.errors import (
    Conflict,
    InsufficientStorage,
    InvalidModelFile,
    InvalidReference,
    ModelNotFound,
    RunnerdError,
)
from runnerd.models import disk_space, tiny
from runnerd.models.digest import Digest
from runnerd.models.intake import Intake, Progress
from runnerd.models.sources import Source
from runnerd.models.store import Store
from tests.support.ggufs import STRING, gguf, pair, projector, snapshot, text
from tests.support.stores import add, opened, small

COVERS = ("runnerd.models.intake",)

# coming in


async def test_an_imported_model_is_all_there(store: Store, real: Path) -> None:
    """The model has its file's facts, its files can be used, and a new process finds it."""
    told: list[Progress] = []
    model = await store.entrance.import_files([real], tag=None, progress=told.append)
    assert model.tags == ("ai/tiny:f32",)
    assert model.created == int(real.stat().st_mtime)
    assert model.size_bytes == real.stat().st_size
    assert model.capabilities == ("completion",)
    assert model.chat_template == tiny.CHAT_TEMPLATE
    *_, last, cost = told
    assert last.layer_current == last.layer_size == last.total == model.size_bytes
    assert cost.message
    files = store.resolve("tiny")
    assert files.weights.name == "model.gguf"
    assert files.weights.read_bytes() == real.read_bytes()
    assert files.weights_bytes == model.size_bytes
    assert files.facts.block_count == tiny.BLOCKS
    again = Store(files.weights.parents[3])
    again.open()
    assert again.list() == store.list() == [model]


async def test_the_json_form(store: Store, real: Path) -> None:
    """Docker Model Runner's fields have its names and forms; ours are under a key of their own."""
    model = await store.entrance.import_files([real], tag="smollm2")
    document = msgspec.json.decode(msgspec.json.encode(model.to_json()))
    config = document["config"]
    assert document["id"] == str(model.id)
    assert document["tags"] == ["ai/smollm2:latest"]
    assert config["gguf"]["llama.block_count"] == "2"
    assert "tokenizer.ggml.tokens" not in config["gguf"]
    assert {key: config[key] for key in config if key != "gguf"} == {
        "format": "gguf",
        "quantization": "F32",
        "parameters": "116.93 K",
        "architecture": "llama",
        "size": "462.81 KiB",
        "context_size": 2048,
    }
    assert document["runnerd"] == {
        "size_bytes": real.stat().st_size,
        "context_length": 2048,
        "capabilities": ["completion"],
        "chat_template": tiny.CHAT_TEMPLATE,
        "mmproj": False,
        "borrowed_bytes": 0,
    }


async def test_the_same_files_have_the_same_id(store: Store, real: Path, tmp_path: Path) -> None:
    """A copy with another name and time is the same model; its import only adds a tag."""
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(real.read_bytes())
    os.utime(copy, (1, 1))
    first = await add(store, real, "a")
    usage = store.disk_usage()
    assert await add(store, copy, "b") == first
    assert store.get("b").tags == ("ai/a:latest", "ai/b:latest")
    assert store.disk_usage() == usage


async def test_the_layout_on_disk(store: Store, real: Path, tmp_path: Path) -> None:
    """Blobs are named by the sha256 of their content and read-only; others see nothing."""
    model = await store.entrance.import_files([real], tag=None)
    root = tmp_path / "store"
    blobs = list((root / "blobs" / "sha256").iterdir())
    assert len(blobs) == 2
    for blob in blobs:
        assert Digest.of(blob.read_bytes()).hex == blob.name
        assert stat.S_IMODE(blob.stat().st_mode) == 0o440
    manifest = root / "manifests" / "sha256" / model.id.hex
    assert Digest.of(manifest.read_bytes()) == model.id
    assert stat.S_IMODE(root.stat().st_mode) & 0o007 == 0
    assert list((root / "tmp").iterdir()) == []


async def test_projector_and_template(store: Store, tmp_path: Path) -> None:
    """A projector and a template lie beside the weights and change what a model can."""
    small(tmp_path / "m.gguf")
    (tmp_path / "p.gguf").write_bytes(projector())
    (tmp_path / "t.jinja").write_text("<think>")
    model = await store.entrance.import_files(
        [tmp_path / "m.gguf"],
        tag="m",
        mmproj=tmp_path / "p.gguf",
        chat_template=tmp_path / "t.jinja",
    )
    files = store.resolve("m")
    assert files.mmproj is not None
    assert files.mmproj.read_bytes() == projector()
    assert [sense.hears for sense in files.senses] == [False]
    assert files.chat_template is not None
    assert files.chat_template.read_text() == model.chat_template == "<think>"
    assert model.capabilities == ("completion", "thinking", "vision")
    assert model.to_json()["runnerd"] == {
        "size_bytes": model.size_bytes,
        "context_length": None,
        "capabilities": ["completion", "thinking", "vision"],
        "chat_template": "<think>",
        "mmproj": True,
        "borrowed_bytes": 0,
    }


async def test_a_lost_bundle_is_made_again(store: Store, real: Path) -> None:
    """A bundle without a file is rebuilt from the blobs when it is needed."""
    await add(store, real, "m")
    weights = store.resolve("m").weights
    weights.unlink()
    assert store.resolve("m").weights.read_bytes() == real.read_bytes()


@pytest.fixture
def no_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every file system one without copy on write."""
    monkeypatch.setattr(Intake, "_clone", lambda self, source, temporary: False)


async def test_large_files_are_cloned_where_possible(
    tmp_path: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy on write is taken when the file system grants it, and the original is left alone."""

    def granted(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        return os.pwrite(target, os.pread(source, 2**30, 0), 0)

    monkeypatch.setattr("runnerd.models.intake.fcntl.ioctl", granted)
    store = opened(tmp_path / "store")
    original = tmp_path / "m.gguf"
    original.write_bytes(real.read_bytes())
    await add(store, original, "m")
    weights = store.resolve("m").weights
    assert weights.read_bytes() == real.read_bytes()
    assert not weights.samefile(original)
    assert stat.S_IMODE(weights.stat().st_mode) == 0o440


@pytest.mark.parametrize("clones", [True, False], ids=["cloned", "copied"])
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o666, 0o444])
async def test_an_imported_file_stays_as_it_was(
    store: Store,
    folder: Path,
    real: Path,
    monkeypatch: pytest.MonkeyPatch,
    clones: bool,
    mode: int,
) -> None:
    """Mode, owner, links, times and content of a user's file stay, and its changes stay its own."""

    def clone(target: int, request: int, source: int) -> int:
        if not clones:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return os.pwrite(target, os.pread(source, 2**30, 0), 0)

    monkeypatch.setattr("runnerd.models.intake.fcntl.ioctl", clone)
    files = {name: folder / name for name in ("m.gguf", "p.gguf", "t.jinja")}
    files["m.gguf"].write_bytes(real.read_bytes())
    files["p.gguf"].write_bytes(projector())
    files["t.jinja"].write_text("{{ x }}")
    for file in files.values():
        file.chmod(mode)
        os.utime(file, (1_000_000, 2_000_000))  # so old that reading would be noted
    before = {name: file.stat() for name, file in files.items()}
    told: list[Progress] = []
    await store.entrance.import_files(
        [files["m.gguf"]],
        tag="m",
        mmproj=files["p.gguf"],
        chat_template=files["t.jinja"],
        progress=told.append,
    )
    assert {name: file.stat() for name, file in files.items()} == before
    assert ("cloned" if clones else "copied") in told[-1].message
    files["m.gguf"].chmod(0o600)
    with open(files["m.gguf"], "ab") as appended:
        appended.write(b"!")
    assert store.resolve("m").weights.read_bytes() == real.read_bytes()
    await add(store, real, "n")
    again: list[Progress] = []
    await store.entrance.import_files([real], tag="o", progress=again.append)
    assert "takes no space" in again[-1].message


@pytest.mark.usefixtures("no_clones")
async def test_a_file_system_without_links(
    tmp_path: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where hard links are not possible, a bundle has symbolic ones."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store = opened(tmp_path / "store")
    monkeypatch.setattr("runnerd.models.bundle.os.link", refuse)
    await add(store, real, "m")
    weights = store.resolve("m").weights  # a bundle without hard links has symbolic ones
    assert weights.is_symlink()
    assert weights.read_bytes() == real.read_bytes()
    assert not weights.samefile(real)


async def test_a_changed_blob_is_noticed(tmp_path: Path, real: Path) -> None:
    """When a blob is rewritten, its model is not served; a new import heals it."""
    store = opened(tmp_path / "store")
    id = await add(store, real, "m")
    blob = store.resolve("m").weights
    blob.chmod(0o600)
    with open(blob, "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"evil")
    os.utime(blob, (1, 1))
    with pytest.raises(InvalidModelFile, match="changed or removed"):
        store.resolve("m")
    reopened = opened(tmp_path / "store")
    with pytest.raises(InvalidModelFile, match="not what was stored"):
        reopened.get("m")
    assert reopened.list() == []
    assert await add(reopened, real, "m") == id
    assert reopened.resolve("m").weights.read_bytes() == real.read_bytes()


async def test_a_touched_blob_is_looked_at(tmp_path: Path, real: Path) -> None:
    """Another time alone is no damage: the content decides when the store is opened."""
    store = opened(tmp_path / "store")
    await add(store, real, "m")
    os.utime(store.resolve("m").weights, (1, 1))
    assert opened(tmp_path / "store").resolve("m").weights.read_bytes() == real.read_bytes()


# refusals leave nothing


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "magic": lambda content: b"GGUF",
    "html": lambda content: b"<html>404</html>",
    "empty": lambda content: b"",
    "truncated": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "head": lambda content: content[:100],
    "flipped": lambda content: b"GGUE" + content[4:],
    "counts": lambda content: content[:8] + b"\xff" * 16 + content[24:],
    "vocabulary": lambda content: gguf(pair("general.architecture", STRING, text("llama"))),
    "projector": lambda content: projector(),
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_damaged_files_leave_nothing(
    name: str, store: Store, real: Path, folder: Path, tmp_path: Path
) -> None:
    """Each is refused with a reason, and neither the store nor the file has changed."""
    (folder / "x.gguf").write_bytes(DAMAGED[name](real.read_bytes()))
    before = snapshot(tmp_path)
    with pytest.raises(InvalidModelFile) as caught:
        await store.entrance.import_files([folder / "x.gguf"], tag="x")
    assert "x.gguf" in caught.value.message
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("tag", ["../x", "", "a b", f"x@sha256:{'a' * 64}", "sha256:" + "a" * 64])
async def test_a_bad_tag_is_refused_first(
    tag: str, store: Store, real: Path, tmp_path: Path
) -> None:
    """A tag that cannot be one costs no copying and leaves nothing."""
    before = snapshot(tmp_path)
    with pytest.raises(InvalidReference):
        await store.entrance.import_files([real], tag=tag)
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("no_clones")
@pytest.mark.parametrize(
    ("name", "after"),
    [("posix_fallocate", 0), ("write", 0), ("fsync", 0), ("fsync", 1), ("fsync", 4)],
)
async def test_a_full_disk_leaves_nothing(
    name: str, after: int, store: Store, real: Path, tmp_path: Path
) -> None:
    """ENOSPC at any step is InsufficientStorage, cleans up, and the next import works."""
    before = snapshot(tmp_path)
    original, calls = getattr(os, name), itertools.count()

    def failing(*arguments: object) -> object:
        if next(calls) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, failing)
        with pytest.raises(InsufficientStorage, match="runnerd rm"):
            await store.entrance.import_files([real], tag="m")
    assert snapshot(tmp_path) == before
    await add(store, real, "m")
    assert store.resolve("m").weights.read_bytes() == real.read_bytes()


@pytest.mark.usefixtures("no_clones")
async def test_too_large_for_the_disk_is_seen_before(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot fit is refused before a byte of it is copied."""
    path = small(folder / "huge.gguf")
    os.truncate(path, 2**33)  # sparse
    monkeypatch.setattr(disk_space, "free_bytes", lambda folder: 2**32)
    with pytest.raises(InsufficientStorage, match=r"needs 8\.00 GiB"):
        await store.entrance.import_files([path], tag="m")
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


async def test_a_cancelled_import_leaves_nothing(
    store: Store, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelling waits for the thread, which has then removed its files."""
    before = snapshot(tmp_path)
    copying, proceed = threading.Event(), threading.Event()
    original = Intake.add_file

    def held(self: Intake, source: Source) -> object:
        pending = original(self, source)
        copying.set()
        proceed.wait(30)
        return pending

    monkeypatch.setattr(Intake, "add_file", held)
    task = asyncio.ensure_future(store.entrance.import_files([real], tag="m"))  # noqa: TID251
    await asyncio.to_thread(copying.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("no_clones")
async def test_a_file_that_changes_meanwhile_is_refused(
    store: Store, folder: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is cut short while it is copied is refused and nothing is left."""
    path = folder / "m.gguf"
    path.write_bytes(real.read_bytes())
    original = Intake.add_file

    def cut(self: Intake, source: Source) -> object:
        os.truncate(path, 1000)
        return original(self, source)

    monkeypatch.setattr(Intake, "add_file", cut)
    with pytest.raises(InvalidModelFile, match="changed while"):
        await store.entrance.import_files([path], tag="m")
    assert store.list() == []


async def test_many_imports_at_once(store: Store, folder: Path, real: Path) -> None:
    """Imports side by side, of the same and of different files, all succeed and share blobs."""
    paths = [real, real, small(folder / "a.gguf", "a"), small(folder / "b.gguf", "b")]
    found = await asyncio.gather(
        *(store.entrance.import_files([path], tag=f"m{i}") for i, path in enumerate(paths))
    )
    assert len({model.id for model in found}) == 3
    assert set(store.get("m0").tags) == {"ai/m0:latest", "ai/m1:latest"}
    for i, path in enumerate(paths):
        assert store.resolve(f"m{i}").weights.read_bytes() == path.read_bytes()


# removal


async def test_removal_by_tag(store: Store, real: Path, tmp_path: Path) -> None:
    """A tag is untagged, and with the last one the model and its files go."""
    before = snapshot(tmp_path)
    id = await add(store, real, "a", "b")
    assert store.names.remove("a") == [("Untagged", "ai/a:latest")]
    assert store.get("b").id == id
    assert store.names.remove("b") == [("Untagged", "ai/b:latest"), ("Deleted", str(id))]
    assert store.list() == []
    after = snapshot(tmp_path)
    assert after.pop("store/index.json") != b""
    before.pop("store/index.json")
    assert after == before
    with pytest.raises(ModelNotFound):
        store.names.remove("b")


async def test_removal_by_id(store: Store, real: Path) -> None:
    """An id with several tags is a conflict unless forced; with one tag it is enough."""
    id = await add(store, real, "a", "b")
    with pytest.raises(Conflict, match="ai/a:latest, ai/b:latest"):
        store.names.remove(id.short)
    assert store.names.remove(id.short, force=True) == [
        ("Untagged", "ai/a:latest"),
        ("Untagged", "ai/b:latest"),
        ("Deleted", str(id)),
    ]
    await add(store, real, "a")
    assert store.names.remove(str(id)) == [("Untagged", "ai/a:latest"), ("Deleted", str(id))]


async def test_a_removal_can_be_foreseen(store: Store, real: Path) -> None:
    """`deletes` says of every name what `remove` will do to the model."""
    id = await add(store, real, "a", "b")
    assert store.identify("a") == id
    assert not store.names.deletes("a")
    assert store.names.deletes(id.short)
    assert not store.names.deletes(id.short, force=False)
    store.names.remove("b")
    assert store.names.deletes("a")
    assert store.names.deletes(id.short, force=False)
    for question in (store.names.deletes, store.identify):
        with pytest.raises(ModelNotFound):
            question("b")


async def test_shared_blobs_survive(store: Store, real: Path, folder: Path) -> None:
    """Two models of the same weights share them, and each can go without the other."""
    (folder / "t.jinja").write_text("x")
    await add(store, real, "plain")
    await store.entrance.import_files([real], tag="templated", chat_template=folder / "t.jinja")
    store.names.remove("plain")
    assert store.resolve("templated").weights.read_bytes() == real.read_bytes()
    store.names.remove("templated")
    assert store.disk_usage() == 0


async def test_purge(store: Store, real: Path, folder: Path) -> None:
    """Purging removes all models and leaves a store that works."""
    await add(store, real, "a", "b")
    await add(store, small(folder / "c.gguf"), "c")
    store.names.purge()
    assert (store.list(), store.disk_usage()) == ([], 0)
    await add(store, real, "a")
    assert store.resolve("a").weights_bytes == real.stat().st_size


def test_every_refusal_is_in_the_tree() -> None:
    """What the store raises has a status, so the API never answers it with 500."""
    for error in (InvalidModelFile, InsufficientStorage, ModelNotFound, Conflict, InvalidReference):
        assert issubclass(error, RunnerdError)
        assert error.status != 500
