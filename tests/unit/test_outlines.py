"""Outlines of models: files that have a header and nothing behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.configuration import BackendConfiguration
from runnerd.backends.llamacpp import LlamaCppBackend
from runnerd.backends.model_files import ModelFiles
from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.models import tiny
from runnerd.models.gguf import read_header
from runnerd.models.outlines import Outlines, outlined, write_outline
from tests.support.engines import context


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "m.gguf"
    tiny.write_completion_model(path)
    return path


def test_a_header_that_is_not_whole_is_none(weights: Path, tmp_path: Path) -> None:
    """Wherever it is cut: zeros behind it are taken for nothing."""
    data, whole = weights.read_bytes(), read_header(weights)
    cuts = [*range(4, 200, 7), *range(200, whole.header_bytes, 997), whole.header_bytes - 1]
    for cut in cuts:
        assert write_outline(tmp_path / "o", data[:cut], len(data)) is None, cut
    found = write_outline(tmp_path / "o", data[: whole.header_bytes], len(data))
    assert found is not None
    assert (found.metadata, found.tensors) == (whole.metadata, whole.tensors)
    assert (tmp_path / "o").stat().st_size == len(data)


def test_what_is_no_model(tmp_path: Path) -> None:
    """Is told at once, and so is what is whole and broken."""
    with pytest.raises(InvalidModelFile, match="not a GGUF"):
        write_outline(tmp_path / "o", b"<html>", 10**6)
    with pytest.raises(InvalidModelFile):
        write_outline(tmp_path / "o", b"GGUF\3\0\0\0", 8)


class Nothing:
    def resolve(self, model: str) -> ModelFiles:
        raise ModelNotFound(model)


def test_known_for_a_while(weights: Path, tmp_path: Path) -> None:
    """By an id, as a model of the store; else the store is asked."""
    (tmp_path / "outlines" / "old").mkdir(parents=True)
    outlines = Outlines(Nothing(), tmp_path / "outlines")
    assert not (tmp_path / "outlines").exists()
    folder = outlines.make_folder()
    files = outlined([read_header(weights)], [weights], None)
    assert files.weights_bytes == weights.stat().st_size
    with outlines.known("o", files):
        assert outlines.resolve("o") is files
    with pytest.raises(ModelNotFound):
        outlines.resolve("o")
    outlines.remove(folder)
    assert list((tmp_path / "outlines").iterdir()) == []


@pytest.mark.engine
async def test_an_engine_needs_as_much_for_it(weights: Path, tmp_path: Path) -> None:
    """llama.cpp's own account reads no weights."""
    (tmp_path / "models").mkdir()
    data, header = weights.read_bytes(), read_header(weights)
    (tmp_path / "models" / "whole.gguf").write_bytes(data)
    write_outline(tmp_path / "models" / "outline.gguf", data[: header.header_bytes], len(data))
    backend = LlamaCppBackend(context(tmp_path, tmp_path / "models"))
    asked = BackendConfiguration()
    whole = await backend.required_memory("whole", asked)
    assert whole == await backend.required_memory("outline", asked)
    assert whole.ram_bytes > 0
