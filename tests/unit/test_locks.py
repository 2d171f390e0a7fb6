"""What releases and CI install is what pyproject.toml asks for, by hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, tuple[Version, bool]]:
    """Return each locked package's version, and whether it has a hash."""
    found: dict[str, tuple[Version, bool]] = {}
    text = (ROOT / "locks" / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if match := re.match(r"([a-z0-9][a-z0-9._-]*)==([^ ;]+)", line):
            found[canonicalize_name(match[1])] = Version(match[2]), "--hash=sha256:" in line
    return found


@pytest.mark.parametrize("name", ["release.txt", "ci.txt"])
def test_everything_is_locked_by_hash(name: str) -> None:
    """A package without a hash could be any file that an index hands out."""
    assert all(has_hash for _, has_hash in locked(name).values())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("release.txt", PROJECT["project"]["dependencies"]),
        ("ci.txt", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_locks_hold_what_the_project_asks_for(name: str, wanted: list[str]) -> None:
    """`make lock` was run after the last change of the bounds."""
    versions = locked(name)
    for requirement in map(Requirement, wanted):
        package = canonicalize_name(requirement.name)
        assert package in versions, f"{package} is not in locks/{name}: run make lock"
        assert requirement.specifier.contains(versions[package][0]), f"{package}: run make lock"


def test_every_dependency_has_a_lower_bound() -> None:
    """A version that was never tried is not one that works."""
    groups = PROJECT["dependency-groups"]
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = [PROJECT["project"]["dependencies"], *groups.values(), *extras]
    for requirement in [Requirement(text) for group in lists for text in group]:
        assert any(each.operator == ">=" for each in requirement.specifier), str(requirement)
