"""Whether the kernel killed for lack of memory, in both kinds of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends import oom
from runnerd.backends.oom import OomCounter


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/user.slice/x\n", "user.slice/x/memory.events"),
        ("9:cpu,cpuacct:/\n4:memory:/docker/abc\n", "memory/docker/abc/memory.oom_control"),
    ],
)
def test_the_count_rises(
    groups: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of our own group; other lines say nothing."""
    counter = tmp_path / "cgroup" / file
    counter.parent.mkdir(parents=True)
    counter.write_text("low 7\noom 3\noom_kill 2\noom_group_kill 9\n")
    described = tmp_path / "groups"
    described.write_text(groups)
    monkeypatch.setattr(oom, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(oom, "_OWN", described)
    seen = OomCounter()
    assert seen.rose() is False
    counter.write_text("low 8\noom 4\noom_kill 3\n")
    assert seen.rose() is True
    counter.write_text("oom_kill many\n")
    assert seen.rose() is None
    counter.unlink()
    assert seen.rose() is None


@pytest.mark.parametrize("groups", [None, "", "0::/nowhere\n", "3:cpu:/x\n", "nonsense\n"])
def test_where_nothing_can_be_known(
    groups: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is said, not False; lines of an unknown form are passed over."""
    described = tmp_path / "groups"
    if groups is not None:
        described.write_text(groups)
    monkeypatch.setattr(oom, "_ROOT", tmp_path)
    monkeypatch.setattr(oom, "_OWN", described)
    assert OomCounter().rose() is None
