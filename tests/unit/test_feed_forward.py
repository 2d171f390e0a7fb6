"""How wide feed-forward layers are, by their tensors."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.models.feed_forward import FeedForward, feed_forward
from runnerd.models.gguf import read_header
from runnerd.models.gguf_header import GGUFHeader
from tests.support.ggufs import STRING, U32, gguf, pair, tensor, text

_F32 = 0
_KEYS = {"feed_forward_length": 99, "expert_feed_forward_length": 7, "expert_used_count": 2}


def header(folder: Path, **tensors: tuple[int, ...]) -> GGUFHeader:
    """Return the header of a file with these tensors; `__` in their names is a dot."""
    pairs = [pair("general.architecture", STRING, text("a"))]
    pairs += [pair(f"a.{key}", U32, value.to_bytes(4, "little")) for key, value in _KEYS.items()]
    infos, offset = [], 0
    for name, shape in tensors.items():
        infos.append(tensor(name.replace("__", "."), shape, _F32, offset))
        size = 4
        for dimension in shape:
            size *= dimension
        offset += -(-size // 32) * 32
    path = folder / "x.gguf"
    path.write_bytes(gguf(*pairs, *infos, tensors=len(infos), data=offset))
    return read_header(path)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"blk__0__ffn_up__weight": (4, 16)}, FeedForward(16, 0, False)),
        (
            {"blk__0__ffn_up__weight": (4, 16), "blk__1__ffn_gate__weight": (4, 16)},
            FeedForward(16, 0, True),
        ),
        (
            {"blk__0__ffn_up_exps__weight": (4, 8, 3), "blk__0__ffn_gate_inp__weight": (4, 3)},
            FeedForward(0, 8, False),
        ),
        ({"blk__0__ffn_gate_up_exps__weight": (4, 8, 3)}, FeedForward(0, 4, True)),
        ({"token_embd__weight": (4, 16)}, FeedForward(99, 7, True)),
    ],
)
def test_tensors_tell_and_not_the_keys(
    tensors: dict[str, tuple[int, ...]], expected: FeedForward, tmp_path: Path
) -> None:
    """Where a first part has no layers its keys are believed."""
    assert feed_forward(header(tmp_path, **tensors), "a") == expected
