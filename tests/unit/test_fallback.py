"""runnerd.backends.llamacpp.fallback: whether the Python engine is here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import fallback
from runnerd.backends.llamacpp.fallback import Fallback

_PACKAGES = ("fallback_one", "fallback_two")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are found in, and two that are wanted."""
    monkeypatch.setattr(fallback, "_PACKAGES", _PACKAGES)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in _PACKAGES:
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    return tmp_path


def test_all_packages_are_here(site: Path) -> None:
    """Found without importing any of them."""
    assert Fallback().available
    assert not set(_PACKAGES) & set(sys.modules)


def test_what_pip_left_of_one_is_none(site: Path) -> None:
    """Libraries that were linked into a package stay when it is uninstalled."""
    (site / "fallback_two" / "__init__.py").unlink()
    assert not Fallback().available


def test_its_code_is_read_by_whom_it_runs_as(site: Path) -> None:
    """A user who cannot read a package is found out before the child is started as that user."""
    first = [site / name / "__init__.py" for name in _PACKAGES]
    assert Fallback().reads[1:] == tuple(first)
