"""runnerd.backends.llamacpp.isolation: which files a model is."""

from __future__ import annotations

from pathlib import Path

from runnerd.backends.llamacpp.isolation import Isolation, files_of
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


def test_the_owner_decides(tmp_path: Path) -> None:
    """Without a sandbox there is none; further paths are given to every program."""
    off = Isolation(LlamaCppSettings(sandbox=False), tmp_path)
    assert off.of(tmp_path / "x", devices=False) is None
    more = Isolation(LlamaCppSettings(sandbox_paths=[Path("/srv/models")]), tmp_path)
    made = more.of(tmp_path / "x", reads=[tmp_path / "m"], devices=False)
    assert made is not None
    assert Path("/srv/models") in made.programs
    assert made.reads == (tmp_path / "m",)
