"""For which engines slots are kept, and which of them can read each other's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.command import Launch, native_command
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.llamacpp.slots import fingerprint, works
from runnerd.backends.model_files import ModelFacts, ModelFiles

FILES = ModelFiles(Path("/m/w.gguf"), 1, facts=ModelFacts("llama", context_length=4096))


def launch(files: ModelFiles = FILES, **changes: Any) -> Launch:
    configuration = BackendConfiguration.model_validate(changes.pop("configuration", {}))
    usual: dict[str, Any] = {
        "socket": Path("/r/a.e.sock"),
        "model_ref": "ai/m",
        "draft": None,
        "mode": BackendMode.COMPLETION,
        "slots": Path("/s"),
    }
    return Launch(files=files, configuration=configuration, **{**usual, **changes})


def with_facts(architecture: str, **facts: Any) -> ModelFiles:
    return replace(FILES, facts=ModelFacts(architecture, context_length=4096, **facts))


def test_where_it_works() -> None:
    """Plain attention over the whole context, and nothing beside it that would be missing."""
    assert works(launch())
    assert works(launch(with_facts("qwen3moe")))


@pytest.mark.parametrize(
    "what",
    [
        launch(with_facts("gemma3")),
        launch(with_facts("mamba2")),
        launch(with_facts("qwen3next")),
        launch(with_facts("never-heard-of")),
        launch(with_facts("olmo2", window=512, window_width=64)),
        launch(replace(FILES, mmproj=Path("/m/p.gguf"))),
        launch(draft=FILES),
        launch(mode=BackendMode.EMBEDDING),
        launch(configuration={"runtime-flags": ["--spec-type", "ngram-mod"]}),
    ],
)
def test_where_it_does_not(what: Launch) -> None:
    """Windows, recurrent states, images, drafts, encoders, and whatever nobody has tried."""
    assert not works(what)


@pytest.fixture
def server(tmp_path: Path) -> NativeServer:
    path = tmp_path / "llama-server"
    path.write_text("")
    return NativeServer(path, "1", frozenset({"--slot-save-path"}))


def mark(server: NativeServer, what: Launch, model: str = "sha256:1", **settings: Any) -> str:
    return fingerprint(server, what, model, native_command(server, what, parse_settings(settings)))


def test_what_tells_them_apart(server: NativeServer, tmp_path: Path) -> None:
    """Model, build and whatever changes the layout; not where things lie, nor how many threads or
    other slots there are.
    """
    usual = mark(server, launch())
    assert mark(server, launch(socket=Path("/r/b.e.sock"), model_ref="other")) == usual
    assert mark(server, launch(slots=Path("/elsewhere")), threads=3) == usual
    assert mark(server, launch(), parallel=2) == usual
    newer = tmp_path / "newer"
    newer.write_text("")
    others = {
        mark(server, launch(), "sha256:2"),
        mark(server, launch(configuration={"context-size": 512})),
        mark(server, launch(configuration={"runtime-flags": ["-ctk", "q8_0"]})),
        mark(server, launch(configuration={"placement": {"devices": "cpu"}})),
        mark(replace(server, version="2"), launch()),
        mark(replace(server, path=newer), launch()),
    }
    assert len(others | {usual}) == 7
