"""Split models: which files belong together, and whether they are what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models.gguf_header import GGUFHeader, Tensor, Value
from runnerd.models.split_files import check_split, with_siblings, without_shard


def part(number: int, count: int, *, of_model: int = 2, tensors: int = 1) -> GGUFHeader:
    """The header of one part; each has as many tensors, and `of_model` is how many all have."""
    metadata: dict[str, Value] = {
        "split.no": number,
        "split.count": count,
        "split.tensors.count": of_model,
    }
    each = tuple(Tensor(f"t{number}.{index}", (1,), 0, 0, 4) for index in range(tensors))
    return GGUFHeader(f"part{number}", 3, metadata, {}, each, 32, 0, 0)


def test_siblings_stand_in_their_order(tmp_path: Path) -> None:
    """Any part names all; a file that is not split is alone."""
    names = [tmp_path / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        name.touch()
    assert with_siblings(names[2]) == names
    assert with_siblings(tmp_path / "m.gguf") == [tmp_path / "m.gguf"]


@pytest.mark.parametrize("name", ["m-00000-of-00002.gguf", "m-00003-of-00002.gguf"])
def test_a_number_that_no_part_has(name: str, tmp_path: Path) -> None:
    """Numbers run from 1 to the count."""
    with pytest.raises(InvalidModelFile, match="numbered wrongly"):
        with_siblings(tmp_path / name)


def test_headers_of_one_model() -> None:
    """All parts in order, with all tensors, are a model, and so is a file that says nothing."""
    check_split([part(0, 2), part(1, 2)])
    check_split([GGUFHeader("whole", 3, {}, {}, (), 32, 0, 0)])


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([part(0, 2)], "has 2 parts, but there are 1"),
        ([part(0, 2), part(0, 2)], "not part 2 of 2"),
        ([part(0, 2), part(1, 3)], "not part 2 of 2"),
        ([part(0, 2, of_model=5), part(1, 2)], "do not hold the tensors"),
    ],
)
def test_headers_of_no_one_model(headers: list[GGUFHeader], message: str) -> None:
    """What lacks, stands twice or is another model's is named."""
    with pytest.raises(InvalidModelFile, match=message):
        check_split(headers)


def test_names_without_number_and_ending() -> None:
    """What is left is the model's name."""
    assert without_shard("m-00001-of-00003.gguf") == without_shard("m.GGUF") == "m"
