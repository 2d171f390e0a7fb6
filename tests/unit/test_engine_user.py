"""runnerd.backends.engine_user: what a user has to be able to do, and the GPUs' groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.backends.engine_user import Rehearsal, device_groups, vital_nodes


def test_a_rehearsal_names_what_is_in_the_way(tmp_path: Path) -> None:
    """The first thing that cannot be read, run or written; "" where all can."""
    file = tmp_path / "x"
    file.write_text("x")
    everything = Rehearsal((file,), (Path("/bin/sh"),), (tmp_path,))
    assert everything.problem() == ""
    assert "gone cannot be read" in Rehearsal(reads=(tmp_path / "gone",)).problem()
    assert "x cannot be run" in Rehearsal(programs=(file,)).problem()
    assert "gone cannot be written" in Rehearsal(writes=(tmp_path / "gone",)).problem()


def test_nodes_without_which_nothing_computes(tmp_path: Path) -> None:
    """Of folders what is in them; not those that belong to root on sound hosts."""
    (tmp_path / "dri").mkdir()
    (tmp_path / "nvidia-caps").mkdir()
    for name in ("nvidia0", "nvidiactl", "nvidia-modeset", "dri/card0", "dri/renderD128",
                 "nvidia-caps/nvidia-cap1", "kfd"):  # fmt: skip
        (tmp_path / name).touch()
    nodes = [str(tmp_path / name) for name in os.listdir(tmp_path)]
    assert {node.name for node in vital_nodes(nodes)} == {
        "nvidia0", "nvidiactl", "renderD128", "kfd",
    }  # fmt: skip


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files to groups")
def test_groups_are_those_that_are_needed(tmp_path: Path) -> None:
    """Not for a node that is open to everybody, and never root's."""
    for name, gid, mode in (("a", 44, 0o660), ("b", 0, 0o660), ("c", 45, 0o666), ("d", 46, 0o640)):
        node = tmp_path / name
        node.touch()
        os.chown(node, 0, gid)
        node.chmod(mode)
    assert device_groups([tmp_path / name for name in "abcd"]) == (44,)
