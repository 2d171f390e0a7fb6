"""Configurations in memory: modes, names, merging, and files that cannot be used."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from runnerd import durable
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import NAMED, ConfigurationKey, Configurations
from runnerd.errors import InvalidConfiguration, StorageFailure

KEY = ConfigurationKey("llama.cpp", "sha256:x", BackendMode.COMPLETION)
EMBEDDING = KEY._replace(mode=BackendMode.EMBEDDING)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where they are kept."""
    return tmp_path / "configurations.json"


def opened(file: Path, **names: str) -> Configurations:
    """What a daemon finds whose models have these names."""
    made = Configurations(file, names.get)
    made.open()
    return made


def context(configurations: Configurations, key: ConfigurationKey = KEY) -> int | None:
    """The context size in force."""
    return configurations.effective(*key)[0].context_size


async def test_a_mode_without_its_own_uses_that_of_completion(file: Path) -> None:
    """Until something is configured for it."""
    configurations = opened(file)
    await configurations.set(KEY, {"context-size": 512})
    assert context(configurations, EMBEDDING) == 512
    await configurations.set(EMBEDDING, {"pinned": True})
    assert context(configurations, EMBEDDING) is None
    assert context(configurations) == 512


async def test_changes_are_merged_and_kept(file: Path) -> None:
    """What is absent stays, null goes, a wrong one changes nothing; a restart finds the same."""
    configurations = opened(file)
    await configurations.set(KEY, {"context-size": 512, "pinned": True})
    await configurations.set(KEY, {"pinned": None})
    revision = configurations.revision
    with pytest.raises(InvalidConfiguration):
        await configurations.set(KEY, {"context-size": "many"})
    assert configurations.revision == revision
    for each in (configurations, opened(file)):
        [(key, configuration)] = each.list()
        assert (key, configuration.context_size, configuration.pinned) == (KEY, 512, False)
    await configurations.forget("sha256:x")
    assert list(opened(file).list()) == []


async def test_a_name_counts_until_the_model_has_its_own(file: Path) -> None:
    """It is not there before the model is."""
    await opened(file).set(KEY._replace(model=f"{NAMED}ai/soon:latest"), {"context-size": 64})
    assert list(opened(file).list()) == []
    configurations = opened(file, **{"ai/soon:latest": "sha256:x"})
    assert context(configurations) == 64
    await configurations.set(KEY, {"pinned": True})
    assert context(configurations) == 64
    assert [key for key, _ in configurations.list()] == [KEY]


def entries(*sizes: Any) -> str:
    """A file with a model for each context size."""
    return json.dumps([
        {"backend": "llama.cpp", "model": f"sha256:{n}", "mode": "completion",
         "configuration": {"context-size": size}}
        for n, size in enumerate(sizes)
    ])  # fmt: skip


def test_a_wrong_entry_is_set_aside(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others are in force and can be changed; the log says which it was, and where it lies."""
    file.write_text(entries(512, "many", 256))
    configurations = opened(file)
    assert context(configurations, KEY._replace(model="sha256:2")) == 256
    assert context(configurations, KEY._replace(model="sha256:1")) is None
    aside = file.with_name("configurations.json.unusable")
    assert "many" in aside.read_text()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "sha256:1" in record.getMessage()
    assert str(aside) in record.getMessage()
    asyncio.run(configurations.set(KEY, {"pinned": True}))
    assert len(list(opened(file).list())) == 3


def test_an_entry_that_cannot_be_moved_is_not_lost(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are in force, and nothing is changed until somebody has seen to it."""
    file.write_text(entries(512, "many"))

    def full(*_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(durable, "write_new", full)
    configurations = opened(file)
    assert context(configurations, KEY._replace(model="sha256:0")) == 512
    with pytest.raises(StorageFailure, match="some of the configurations"):
        asyncio.run(configurations.set(KEY, {"pinned": True}))
    assert file.read_text() == entries(512, "many")
