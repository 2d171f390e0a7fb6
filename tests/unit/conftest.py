"""What the tests of the store and of the database have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.database import Database
from runnerd.models import tiny
from runnerd.models.store import Store
from tests.support.stores import opened


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model file."""
    path = tmp_path_factory.mktemp("real") / "tiny-F32.gguf"
    tiny.write_completion_model(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that copies what it takes in."""
    return opened(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for files to import, apart from the store."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open, empty database."""
    database = Database(tmp_path)
    await database.open()
    yield database
    await database.close()
