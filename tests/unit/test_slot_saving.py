"""Slots go to an engine's own folder and come from there, whatever the engine does in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from runnerd.backends.handing_over import take_file
from runnerd.backends.interface import BackendContext
from runnerd.backends.llamacpp import slot_saving
from runnerd.backends.llamacpp.engine_choice import EngineChoice
from runnerd.backends.llamacpp.launches import Launches, engine_socket, slots_folder
from runnerd.backends.llamacpp.slot_saving import SlotSaving
from runnerd.backends.model_files import ModelFacts, ModelFiles, ModelResolver
from runnerd.errors import BackendFailure

NAME = "00000000000000000001-0000.0.slot"
EVALUATED = b"what somebody said"
FACTS = ModelFacts("llama", context_length=4096)


class Models:
    def resolve(self, name: str) -> ModelFiles:
        return ModelFiles(Path("/m/w.gguf"), 1, facts=FACTS)


class Engine:
    """An engine with one slot: what it does in its folder when it is asked to save or restore."""

    def __init__(self, tmp_path: Path) -> None:
        self.slots = tmp_path / "slots"
        self.socket = tmp_path / "runners" / "0123abcd.sock"
        self.folder = slots_folder(self.slots, self.socket)
        self.folder.mkdir(parents=True)
        engine_socket(self.socket).parent.mkdir(parents=True)
        self.tokens = 0
        self.acts: Callable[[], object] = lambda: None
        self.seen: list[bytes] = []

    def reads(self) -> None:
        """Restore: note what is in the file."""
        self.seen.append((self.folder / NAME).read_bytes())

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._answer, str(engine_socket(self.socket)))
        async with server:
            yield
        engine_socket(self.socket).unlink(missing_ok=True)  # from Python 3.13 on asyncio removes it

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"{}"
        if head.startswith(b"GET /slots "):
            body = b'[{"id":0,"n_prompt_tokens":%d}]' % self.tokens
        else:
            self.acts()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def saving(engine: Engine, tmp_path: Path) -> SlotSaving:
    models = cast("ModelResolver", Models())
    context = BackendContext(models, tmp_path, tmp_path, {}, slots_dir=engine.slots)
    return SlotSaving(context, cast("EngineChoice", None), Launches(context))


def keep(engine: Engine) -> Path:
    kept = engine.slots / NAME
    kept.write_bytes(EVALUATED)
    return kept


def no_links(self: Path, target: Path) -> None:
    raise PermissionError(1, "a disk without links")


@pytest.mark.parametrize("links", [True, False])
async def test_there_and_back(
    links: bool, engine: Engine, saving: SlotSaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is what the engine reads, and is there afterwards; also on a disk without
    links.
    """
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    kept = keep(engine)
    engine.acts = engine.reads
    async with engine.listening():
        assert await saving.restore_slots(engine.socket, [NAME]) == 1
    assert (engine.seen, kept.read_bytes()) == ([EVALUATED], EVALUATED)
    assert not list(engine.folder.iterdir())


async def test_what_an_engine_saves_is_kept(engine: Engine, saving: SlotSaving) -> None:
    """It is moved away from the engine's folder."""
    engine.tokens = 100
    engine.acts = lambda: (engine.folder / NAME).write_bytes(EVALUATED)
    async with engine.listening():
        assert await saving.save_slots(engine.socket, "m", [NAME], 2**30) == [NAME]
    assert (engine.slots / NAME).read_bytes() == EVALUATED
    assert not list(engine.folder.iterdir())


@pytest.mark.parametrize("links", [True, False])
async def test_a_link_in_the_place_of_slots_leads_nowhere(
    links: bool,
    engine: Engine,
    saving: SlotSaving,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine knows the name of what it gets back, and can put a link to any file there."""
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    victim = tmp_path / "passwd"
    victim.write_text("root")
    keep(engine)
    (engine.folder / NAME).symlink_to(victim)
    engine.acts = engine.reads
    async with engine.listening():
        assert await saving.restore_slots(engine.socket, [NAME]) == 1
    assert (victim.read_text(), engine.seen) == ("root", [EVALUATED])


async def test_a_folder_in_the_place_of_slots(engine: Engine, saving: SlotSaving) -> None:
    """The engine goes without them, and nothing else is wrong."""
    keep(engine)
    (engine.folder / NAME / "more").mkdir(parents=True)
    async with engine.listening():
        with pytest.raises(BackendFailure, match="cannot have its slots back"):
            await saving.restore_slots(engine.socket, [NAME])


async def test_what_is_kept_is_what_was_looked_at(
    engine: Engine, saving: SlotSaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that exchanges its file while it is taken exchanges nothing that is kept."""
    secret, written = tmp_path / "shadow", engine.folder / NAME
    secret.write_text("private")

    def exchanged_behind(path: Path, owner: int) -> None:
        take_file(path, owner)
        written.unlink(missing_ok=True)
        written.symlink_to(secret)

    monkeypatch.setattr(slot_saving, "take_file", exchanged_behind)
    engine.tokens = 100
    engine.acts = lambda: written.write_bytes(EVALUATED)
    async with engine.listening():
        await saving.save_slots(engine.socket, "m", [NAME], 2**30)
    kept = engine.slots / NAME
    assert not kept.is_symlink()
    assert kept.read_bytes() == EVALUATED


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "second name"])
async def test_what_is_no_file_of_the_engine_is_not_kept(
    kind: str, engine: Engine, saving: SlotSaving, tmp_path: Path
) -> None:
    """Nor does anything of it stay among what is kept."""
    written, secret = engine.folder / NAME, tmp_path / "shadow"
    secret.write_text("private")

    def act() -> None:
        match kind:
            case "link":
                written.symlink_to(secret)
            case "folder":
                (written / "deep").mkdir(parents=True)
            case "pipe":
                os.mkfifo(written)
            case _:
                written.hardlink_to(secret)

    engine.tokens, engine.acts = 100, act
    async with engine.listening():
        with pytest.raises(BackendFailure, match="cannot be kept"):
            await saving.save_slots(engine.socket, "m", [NAME], 2**30)
    assert [path for path in engine.slots.iterdir() if path != engine.folder] == []
    assert secret.read_text() == "private"
