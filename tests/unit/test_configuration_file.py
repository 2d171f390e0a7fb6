"""The file of configurations, whole and partly damaged."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from runnerd import durable
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey
from runnerd.configurations.configuration_file import Documents, load, part, save
from runnerd.regular import Unusable

KEY = ConfigurationKey("llama.cpp", "sha256:x", BackendMode.COMPLETION)
OTHER = KEY._replace(mode=BackendMode.EMBEDDING)


def entry(**changes: Any) -> dict[str, Any]:
    """An entry of KEY's as the file has it."""
    return {
        "backend": "llama.cpp",
        "model": "sha256:x",
        "mode": "completion",
        "configuration": {"pinned": True},
    } | changes


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every key with its document; nothing where there is no file."""
    file = tmp_path / "configurations.json"
    assert load(file) == ({}, (), "")
    documents: Documents = {OTHER: {"context-size": 512}, KEY: {"pinned": True}}
    save(file, documents)
    assert load(file).documents == documents
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (entry(mode="flying"), "flying"),
        (entry(configuration={"context-size": "many"}), "context-size"),
        (entry(configuration={"of-a-newer-version": 1}), "of-a-newer-version"),
        ({"model": "sha256:y"}, "that of sha256:y: 'mode' is missing"),
        (7, ""),
        (None, ""),
        (entry(configuration=[]), ""),
    ],
)
def test_one_damaged_entry_takes_nothing_with_it(
    tmp_path: Path, damaged: Any, problem: str
) -> None:
    """The others count; it is told, and lies in a file of its own afterwards."""
    file = tmp_path / "configurations.json"
    file.write_text(json.dumps([damaged, entry()]))
    content = load(file)
    assert content.documents == {KEY: {"pinned": True}}
    assert content.damaged == (damaged,)
    assert problem in content.problem
    assert content.problem
    aside = part(file, content)
    assert json.loads(aside.read_text()) == [damaged]
    assert load(file) == ({KEY: {"pinned": True}}, (), "")


def test_nothing_is_lost_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays as it was unless the damaged entries are written elsewhere."""
    file = tmp_path / "configurations.json"
    file.write_text(json.dumps([7, entry()]))
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable, "write_new", full)
    with pytest.raises(OSError, match="no space"):
        part(file, load(file))
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"[1]", b'{"a": 1}', b"7", b"\xff", b"[" * 100_000, b""])
def test_no_entry_at_all_is_no_such_file(tmp_path: Path, content: bytes) -> None:
    """Where nothing can be used the whole file is called damaged."""
    file = tmp_path / "configurations.json"
    file.write_bytes(content)
    with pytest.raises(Unusable, match="damaged"):
        load(file)
