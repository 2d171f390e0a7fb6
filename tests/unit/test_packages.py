"""The wheel's packages are those of the tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ROOTS = {"runnerd": "runnerd", "backends": "runnerd.backends", "sockets": "runnerd.sockets"}


def test_every_package_is_in_the_wheel() -> None:
    """One that is left out works in a checkout and is missing where runnerd is installed."""
    found = set()
    for folder, name in _ROOTS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((name, *inside)))
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(document["tool"]["setuptools"]["packages"]) == found
