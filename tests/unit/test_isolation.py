"""runnerd.backends.llamacpp.isolation: which files a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runnerd.backends import engine_users
from runnerd.backends.llamacpp.isolation import Isolation, compiled_in, files_of
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles


def test_all_files_of_a_model(tmp_path: Path) -> None:
    """Each shard, the projector, the template and the adapters; not what lies beside them."""
    names = [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in (*names, "model-00001-of-00002.gguf", "other.gguf", "description.json"):
        (tmp_path / name).touch()
    model = ModelFiles(
        tmp_path / names[0],
        1,
        mmproj=tmp_path / "p",
        chat_template=tmp_path / "t",
        adapters=(tmp_path / "a", tmp_path / "b"),
    )
    assert set(files_of(model)) == {tmp_path / name for name in (*names, "p", "t", "a", "b")}
    assert list(files_of(ModelFiles(tmp_path / "other.gguf", 1))) == [tmp_path / "other.gguf"]


async def test_the_owner_decides(tmp_path: Path) -> None:
    """Without a sandbox there is none; further paths are given to every program."""
    off = Isolation(LlamaCppSettings(sandbox=False, engine_uids="off"), tmp_path)
    async with off.of(tmp_path / "x", devices=False) as made:
        assert made is None
    settings = LlamaCppSettings(sandbox_paths=[Path("/srv/models")], engine_uids="off")
    more = Isolation(settings, tmp_path)
    async with more.of(tmp_path / "x", reads=[tmp_path / "m"], devices=False) as made:
        assert made is not None
        assert Path("/srv/models") in made.programs
        assert made.reads == (tmp_path / "m",)


def test_users_come_by_themselves_only_with_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who switches it off may have engines that write anywhere; users are then a word away."""
    monkeypatch.setattr(engine_users, "_held", lambda: (1 << 41) - 1)
    said: list[dict[str, Any]] = [
        {}, {"sandbox": False}, {"sandbox": False, "engine_uids": "60578-60580"},
        {"engine_uids": "off"},
    ]  # fmt: skip
    changes = [Isolation(LlamaCppSettings(**one), tmp_path).changes_users for one in said]
    assert changes == [True, False, True, False]


def test_what_drivers_compile_is_each_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models share no folder with code; without a GPU or a sandbox there is none."""
    made = Isolation(LlamaCppSettings(), tmp_path)
    one, two = (ModelFiles(tmp_path / name, 1) for name in ("one.gguf", "two.gguf"))
    monkeypatch.setattr("runnerd.backends.llamacpp.isolation.device_nodes", lambda: [])
    assert made.compiled(one) is None
    monkeypatch.setattr("runnerd.backends.llamacpp.isolation.device_nodes", lambda: ["/dev/x"])
    first, second = made.compiled(one), made.compiled(two)
    assert first is not None
    assert second is not None
    assert first != second
    assert first.is_dir()
    assert made.compiled(one) == first
    assert set(compiled_in(first).values()) >= {str(first), str(first / "cuda")}
    off = LlamaCppSettings(sandbox=False, engine_uids="off")
    assert Isolation(off, tmp_path).compiled(one) is None
