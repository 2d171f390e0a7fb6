"""Progress as it is sent, and as it is shown."""

from __future__ import annotations

import json

import pytest

from runnerd.api.progress import progress_line
from runnerd.cli.progress import bar_name, follow
from runnerd.errors import RunnerdError
from runnerd.models.intake import Progress

_DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_names_of_files_go_along() -> None:
    """Beside the digest; who knows nothing of names gets what it always got."""
    line = json.loads(progress_line(Progress(9, _DIGEST, 9, 3, name="model.gguf"), "Downloaded"))
    assert line["layer"] == {"id": _DIGEST, "size": 9, "current": 3, "name": "model.gguf"}
    assert "name" not in json.loads(progress_line(Progress(9, _DIGEST, 9, 3), "x"))["layer"]


@pytest.mark.parametrize(
    ("layer", "name", "shown"),
    [
        (_DIGEST, "folder/model-Q4_K_M.gguf", "0123456789ab model-Q4_K_M.gguf"),
        (_DIGEST, "", "0123456789ab"),
        (_DIGEST, "0123456789ab", "0123456789ab"),
        ("model.gguf", "", "model.gguf"),
    ],
)
def test_what_stands_beside_a_bar(layer: str, name: str, shown: str) -> None:
    """A name that says more than the digest."""
    assert bar_name(layer, name) == shown


class _Shown:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.bars: list[tuple[str, int, int]] = []
        self.said: list[str] = []

    def advance(self, name: str, current: int, total: int) -> None:
        self.bars.append((name, current, total))

    def say(self, message: str) -> None:
        self.said.append(message)


def test_a_stream_is_followed_to_its_end() -> None:
    """Bars, messages, and a success; an error, or an end without either, is told."""
    shown = _Shown()
    lines = [
        progress_line(Progress(9, "", 0, 0, "waiting"), "x"),
        progress_line(Progress(9, _DIGEST, 9, 9, name="m.gguf"), "x"),
        b'{"type": "success", "model": 1}',
    ]
    assert follow(lines, shown) == {"type": "success", "model": 1}
    assert (shown.said, shown.bars) == (["waiting"], [("0123456789ab m.gguf", 9, 9)])
    with pytest.raises(RunnerdError, match="full"):
        follow([b'{"type": "error", "message": "full"}'], shown)
    with pytest.raises(RunnerdError, match="broke off"):
        follow([], shown)
