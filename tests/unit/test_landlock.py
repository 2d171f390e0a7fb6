"""runnerd.backends.landlock: rights by version, and rules that hold in a child."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.backends import landlock
from runnerd.backends.landlock import Access, Ruleset, handled, libc

pytestmark = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")


def test_each_version_adds_rights() -> None:
    """What a version does not know is not asked of it: it would refuse the whole ruleset."""
    assert handled(1) == Access((1 << 13) - 1)
    assert handled(2) == handled(1) | Access.REFER
    assert handled(3) == handled(2) | Access.TRUNCATE
    assert handled(4) == handled(3)
    assert handled(5) == handled(4) | Access.IOCTL_DEV
    assert handled(99) == handled(5)


@pytest.mark.parametrize("version", range(1, landlock.abi() + 1))
def test_a_ruleset_of_each_version(tmp_path: Path, version: int) -> None:
    """An older kernel's rules are made and hold: what is named can be read, nothing else."""
    (tmp_path / "named").write_text("x")
    (tmp_path / "other").write_text("x")
    with Ruleset(version) as rules:
        rules.allow([tmp_path / "named", tmp_path / "absent"], landlock.READ)
        if (child := os.fork()) == 0:
            status = 1
            try:
                libc().prctl(38, 1, 0, 0, 0)
                assert libc().syscall(landlock.RESTRICT_SELF, rules.descriptor, 0) == 0
                os.close(os.open(tmp_path / "named", os.O_RDONLY))
                try:
                    os.open(tmp_path / "other", os.O_RDONLY)
                except PermissionError:
                    status = 0
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
