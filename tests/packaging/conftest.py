"""What the ways to install have in common: a wheel, and an engine to lend."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings

ROOT = Path(__file__).parents[2]
_ROOMY = "/var/tmp"  # hundreds of megabytes, and /tmp is in memory on many machines
_NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)


@contextmanager
def roomy_folder() -> Iterator[Path]:
    """Make a folder with room for whole environments and images, for the length of a with block."""
    with tempfile.TemporaryDirectory(prefix="runnerd-test-", dir=_ROOMY) as name:
        yield Path(name)


@pytest.fixture
def roomy() -> Iterator[Path]:
    """A folder with room, for one test."""
    with roomy_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution; the sources that it came from are gone."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    shutil.copytree(ROOT, sources, symlinks=True, ignore=_NOT_SOURCES)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(sources)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    shutil.rmtree(sources)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The llama-server that this environment has; building one more would take minutes."""
    finder = ServerFinder(LlamaCppSettings(), tmp_path_factory.mktemp("no-state"))
    found = asyncio.run(finder.find())
    assert found is not None, "make test-install builds an engine first"
    return found.path
