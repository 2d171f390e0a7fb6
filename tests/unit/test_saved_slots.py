"""The folder of saved slots: who gets what, what is kept, and what goes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from runnerd.saved_slots import Entry, SavedSlots


def opened(folder: Path, quota: int = 1000) -> SavedSlots:
    slots = SavedSlots(folder, quota)
    slots.open()
    return slots


async def keep(
    slots: SavedSlots, *clients: str, size: int = 100, kind: str = "f", model: str = "m"
) -> Entry:
    draft = slots.draft(kind, model, clients, 4)
    (slots.folder / draft.names[0]).write_bytes(bytes(size))
    return await slots.keep(draft, draft.names[:1])


def content(slots: SavedSlots) -> set[str]:
    return {path.name for path in slots.folder.iterdir()}


async def test_an_entry_is_for_those_who_made_it(tmp_path: Path) -> None:
    """Membership, fingerprint and being free decide; the newest one first."""
    slots = opened(tmp_path)
    older, newer = await keep(slots, "alice", "bob"), await keep(slots, "alice")
    assert slots.take("f", ["carol"]) is None
    assert slots.take("g", ["alice"]) is None
    assert slots.take("f", []) is None
    assert slots.take("f", ["carol", "alice"]) == newer
    assert slots.take("f", ["alice"]) == older
    assert slots.take("f", ["alice", "bob"]) is None
    slots.give_back(older)
    assert slots.take("f", ["bob"]) == older


async def test_entries_survive_a_restart_in_order(tmp_path: Path) -> None:
    """What was kept is found again, and is still known to be whole."""
    slots = opened(tmp_path)
    entries = [await keep(slots, "alice") for _ in range(3)]
    again = opened(tmp_path)
    assert [again.take("f", ["alice"]) for _ in range(4)] == [*reversed(entries), None]
    assert await again.intact(entries[0])
    (tmp_path / entries[0].names[0]).write_bytes(b"1" * 100)
    assert not await again.intact(entries[0])


async def test_the_oldest_go_when_the_quota_is_reached(tmp_path: Path) -> None:
    """Room is made for what is newer; what is bigger than the quota goes itself."""
    slots = opened(tmp_path, quota=250)
    first, second, third = [await keep(slots, "alice", kind=kind) for kind in "abc"]
    assert slots.take("a", ["alice"]) is None
    assert content(slots) == {f"{e.stamp}.json" for e in (second, third)} | {
        *second.names,
        *third.names,
    }
    await keep(slots, "alice", size=251, kind="d")
    assert slots.take("d", ["alice"]) is None
    assert slots.take("c", ["alice"]) == third
    assert first.stamp not in " ".join(content(slots))


async def test_no_conversation_fills_the_folder(tmp_path: Path) -> None:
    """Of one kind a few are kept, however small they are."""
    slots = opened(tmp_path)
    for _ in range(12):
        await keep(slots, "alice", size=1)
    assert len(content(slots)) == 16


async def test_a_smaller_quota_holds_at_the_next_start(tmp_path: Path) -> None:
    """Also a quota of nothing: then everything goes."""
    slots = opened(tmp_path)
    await keep(slots, "alice")
    newer = await keep(slots, "alice")
    assert opened(tmp_path, quota=150).take("f", ["alice"]) == newer
    assert len(content(slots)) == 2
    assert not opened(tmp_path, quota=0).enabled
    assert content(slots) == set()


async def test_lines_that_cannot_be_read_go(tmp_path: Path) -> None:
    """Whatever lies in the folder: opening it is never an error, and what is not ours stays."""
    slots = opened(tmp_path)
    entry = await keep(slots, "alice")
    stamp = f"{1:020}-0000"
    line = tmp_path / f"{entry.stamp}.json"
    (tmp_path / f"{stamp}.json").write_text("{")
    (tmp_path / f"{stamp}.0.slot").write_text("")
    (tmp_path / f"{2:020}-0000.json").write_bytes(line.read_bytes())
    (tmp_path / "junk").write_text("")
    again = opened(tmp_path)
    assert content(slots) == {line.name, *entry.names, "junk"}
    assert again.take("f", ["alice"]) == entry


async def test_a_deleted_model_and_a_draft_leave_nothing(tmp_path: Path) -> None:
    """Forgetting removes a model's entries only; discarding removes what was begun."""
    slots = opened(tmp_path)
    await keep(slots, "alice", model="gone")
    kept = await keep(slots, "alice")
    draft = slots.draft("f", "m", ["alice"], 2)
    (tmp_path / draft.names[1]).write_bytes(b"half")
    await slots.discard(draft)
    await slots.forget(lambda entry: entry.model == "gone")
    assert content(slots) == {f"{kept.stamp}.json", *kept.names}


def test_others_keep_some_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is written than the quota allows, and nothing on a disk that is nearly full."""
    slots = opened(tmp_path, quota=3 * 2**30)
    for total, free, room in (
        (100 * 2**30, 10 * 2**30, 3 * 2**30),
        (100 * 2**30, 3 * 2**30, 2 * 2**30),
        (100 * 2**30, 2**20, 0),
        (500 * 2**20, 400 * 2**20, 375 * 2**20),  # a small disk is no full one
        (500 * 2**20, 20 * 2**20, 0),
    ):
        disk = SimpleNamespace(total=total, free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, disk=disk: disk)
        assert slots.room() == room


async def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    """A line that was tampered with cannot make the daemon read or remove anything else."""
    folder, secret = tmp_path / "slots", tmp_path / "secret"
    secret.write_text("secret")
    slots = opened(folder)
    entry = await keep(slots, "alice")
    line = folder / f"{entry.stamp}.json"
    line.write_bytes(line.read_bytes().replace(entry.names[0].encode(), b"../secret"))
    again = opened(folder)
    assert again.take("f", ["alice"]) is None
    assert secret.exists()
    assert content(slots) == set()


async def test_of_sessions_there_may_be_many(tmp_path: Path) -> None:
    """They push out neither each other nor what others keep, before the quota does."""
    slots = opened(tmp_path, quota=10**6)
    kept = await keep(slots, "alice")
    sessions = [await keep(slots, f"session {number}") for number in range(20)]
    others = [await keep(slots, "bob") for _ in range(7)]
    assert [slots.take("f", [f"session {number}"]) for number in range(20)] == sessions
    assert slots.take("f", ["alice"]) == kept
    await keep(slots, "bob")
    await keep(slots, "bob")
    assert slots.find("f", ["bob"]) is not None
    assert others[0].stamp not in " ".join(content(slots))
