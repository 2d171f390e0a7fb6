"""runnerd.models.manifest_builder: models made of files that came without a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models import tiny
from runnerd.models.intake import Fetched
from runnerd.models.manifest import GGUF_TYPE
from runnerd.models.modelfile import GO_TEMPLATE_TYPE, PARAMETERS_TYPE, SYSTEM_TYPE
from runnerd.models.store import Store
from tests.support.stores import opened

GO = "<u>{{ .Prompt }}</u>{{ .Response }}"


def files(store: Store, weights: Path, **texts: bytes) -> list[Fetched]:
    """Return what a pull would have fetched."""
    types = {
        "template": GO_TEMPLATE_TYPE,
        "system": SYSTEM_TYPE,
        "parameters": PARAMETERS_TYPE,
    }
    found = [Fetched("weights", GGUF_TYPE, store.uploads.keep(weights.read_bytes()))]
    return found + [
        Fetched(name, types[name], store.uploads.keep(content)) for name, content in texts.items()
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return opened(tmp_path / "store")


def weights(tmp_path: Path, template: str | None) -> Path:
    """Write weights with or without a template of their own."""
    path = tmp_path / "w.gguf"
    tiny.write_completion_model(path, chat_template=template)
    return path


def test_a_go_template_serves_weights_without_one(store: Store, tmp_path: Path) -> None:
    """It is translated into a layer of its own, and the text stays as it was."""
    made = store.entrance.accept(
        files(store, weights(tmp_path, None), template=GO.encode()), manifest=None, tag="m"
    )
    assert made.description.modelfile.template == GO
    assert made.manifest.chat_template is not None
    assert "<u>" in (made.chat_template or "")
    assert store.resolve("m").chat_template is not None
    again = opened(tmp_path / "store")
    assert again.get("m").description == made.description


def test_weights_keep_their_own_template(store: Store, tmp_path: Path) -> None:
    """A Go template from elsewhere is only shown then."""
    path = weights(tmp_path, tiny.CHAT_TEMPLATE)
    made = store.entrance.accept(files(store, path, template=GO.encode()), manifest=None, tag="m")
    assert made.manifest.chat_template is None
    assert made.chat_template == tiny.CHAT_TEMPLATE


def test_a_template_that_cannot_be_said_is_no_reason_to_refuse(
    store: Store, tmp_path: Path
) -> None:
    """A pulled model works with the engine's own template then."""
    path = weights(tmp_path, None)
    made = store.entrance.accept(files(store, path, template=b"{{ .Odd }}"), manifest=None, tag="m")
    assert made.manifest.chat_template is None
    assert made.description.modelfile.template == "{{ .Odd }}"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"parameters": b'{"top_k": "many"}'}, "top_k must be"),
        ({"parameters": b"[1]"}, "cannot be read"),
        ({"parameters": b'{"a": {"b": 1}}'}, "cannot be read"),
        ({"system": b"\xff"}, "not UTF-8"),
        ({"system": b"x" * (2**20 + 1)}, "more than"),
    ],
)
def test_broken_layers_are_refused(
    store: Store, tmp_path: Path, texts: dict[str, bytes], reason: str
) -> None:
    """Each says which, and no model is made."""
    with pytest.raises(InvalidModelFile, match=reason):
        store.entrance.accept(
            files(store, weights(tmp_path, None), **texts), manifest=None, tag="m"
        )
    assert store.list() == []


def test_whole_numbers_may_be_written_with_a_point(store: Store, tmp_path: Path) -> None:
    """Some of Ollama's own models have them so."""
    path = weights(tmp_path, None)
    parameters = b'{"num_ctx": 512.0, "stop": "x", "temperature": 1}'
    made = store.entrance.accept(files(store, path, parameters=parameters), manifest=None, tag="m")
    assert made.description.modelfile.parameters == {
        "num_ctx": 512,
        "stop": ["x"],
        "temperature": 1,
    }
    assert store.resolve("m").context_size == 512
