"""What a model's maker set for its use, as its layers say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models.modelfile import (
    GO_TEMPLATE_TYPE,
    LONGEST_TEXT,
    MESSAGES_TYPE,
    PARAMETERS_TYPE,
    SYSTEM_TYPE,
    Modelfile,
    Remark,
    checked_options,
    read_modelfile,
)


def read(folder: Path, *layers: tuple[str, bytes]) -> Modelfile:
    """What layers of these types and contents set."""
    files = [folder / str(number) for number in range(len(layers))]
    for file, (_, content) in zip(files, layers, strict=True):
        file.write_bytes(content)
    return read_modelfile([kind for kind, _ in layers], files, [file.name for file in files])


def test_each_layer_sets_something(tmp_path: Path) -> None:
    """Weights and licences set nothing; without any layer nothing is set."""
    found = read(
        tmp_path,
        ("application/vnd.ollama.image.model", b"GGUF"),
        (SYSTEM_TYPE, "Sei höflich.".encode()),
        (GO_TEMPLATE_TYPE, b"{{ .Prompt }}"),
        (PARAMETERS_TYPE, b'{"stop":"x","num_ctx":4096.0,"new":[""]}'),
        (MESSAGES_TYPE, b'[{"role":"user","content":"Hi"},{"role":"assistant"}]'),
    )
    assert found == Modelfile(
        "{{ .Prompt }}",
        "Sei höflich.",
        {"stop": ["x"], "num_ctx": 4096, "new": [""]},
        (Remark("user", "Hi"), Remark("assistant")),
    )
    assert found.context_size == 4096
    assert read(tmp_path) == Modelfile()


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (SYSTEM_TYPE, b"\xff", "0 is not UTF-8 text"),
        (SYSTEM_TYPE, b"x" * (LONGEST_TEXT + 1), "has more than 1048576 bytes"),
        (PARAMETERS_TYPE, b"{", "0 cannot be read"),
        (PARAMETERS_TYPE, b"[" * 100000, "0 cannot be read"),
        (PARAMETERS_TYPE, b'{"seed":{}}', "0 cannot be read"),
        (PARAMETERS_TYPE, b'{"top_k":"40"}', "top_k must be a whole number"),
        (MESSAGES_TYPE, b'[{"content":"x"}]', "0 cannot be read"),
        (MESSAGES_TYPE, b"[%s]" % b",".join([b'{"role":"user"}'] * 1001), "more than 1000"),
    ],
)
def test_what_a_pulled_model_may_not_say(
    kind: str, content: bytes, said: str, tmp_path: Path
) -> None:
    """It is a stranger's; the model is refused with the layer's name, or the option's."""
    with pytest.raises(InvalidModelFile, match=said):
        read(tmp_path, (kind, content))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("temperature", 1, 1),
        ("top_k", 40.0, 40),
        ("stop", "x", ["x"]),
        ("use_mmap", False, False),
        ("unknown", {"a": 1}, {"a": 1}),
    ],
)
def test_options_that_are_taken(name: str, value: Any, kept: Any) -> None:
    """Whole numbers may be written as clients write them; what is unknown is others' to judge."""
    found = checked_options({name: value})[name]
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("temperature", True, "a number"),
        ("temperature", "1", "a number"),
        ("top_k", 40.5, "a whole number"),
        ("top_k", 1e300, "a whole number"),
        ("top_k", True, "a whole number"),
        ("stop", ["x", 1], "texts"),
        ("use_mmap", 1, "true or false"),
    ],
)
def test_options_that_are_refused(name: str, value: Any, said: str) -> None:
    """As Ollama refuses them."""
    with pytest.raises(ValueError, match=f"{name} must be {said}"):
        checked_options({name: value})


@pytest.mark.parametrize("asked", [0, -1, 4096.5, "4096", True])
def test_a_context_that_is_none(asked: Any) -> None:
    """The engine's own is taken then."""
    assert Modelfile(parameters={"num_ctx": asked}).context_size is None
