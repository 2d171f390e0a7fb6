"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest

from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.pulls.selection import RepositoryFile, select

GB = 10**9
MANY = 2**60


def files(*names: str, size: int = GB) -> list[RepositoryFile]:
    """Return files of one size."""
    return [RepositoryFile(name, size) for name in names]


def chosen(found: list[RepositoryFile], wanted: str | None = None, memory: int = MANY) -> list[str]:
    """Return the paths of what is selected."""
    selection = select(found, wanted, memory)
    extra = [selection.mmproj] if selection.mmproj else []
    return [file.path for file in (*selection.weights, *extra)]


LISTING = files(
    "README.md",
    "m-Q8_0.gguf",
    "m-Q4_K_M.gguf",
    "m-IQ2_XXS.gguf",
    "BF16/m-BF16-00002-of-00002.gguf",
    "BF16/m-BF16-00001-of-00002.gguf",
    "m.imatrix.gguf",
    "mmproj-m-bf16.gguf",
    "mmproj-m-f16.gguf",
)


def test_default_is_q4_k_m_with_its_projector() -> None:
    """The usual compromise, and the projector in half precision."""
    assert chosen(LISTING) == ["m-Q4_K_M.gguf", "mmproj-m-f16.gguf"]


@pytest.mark.parametrize("wanted", ["bf16", "BF16"])
def test_shards_come_together_and_in_order(wanted: str) -> None:
    """A split model is one choice, wherever it lies."""
    assert chosen(LISTING, wanted)[:2] == [
        "BF16/m-BF16-00001-of-00002.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
    ]


def test_file_can_be_named() -> None:
    """The name of a file is as good as its quantisation."""
    assert chosen(LISTING, "m-q8_0.gguf")[0] == "m-Q8_0.gguf"
    assert chosen(LISTING, "m-Q8_0")[0] == "m-Q8_0.gguf"


def test_unknown_quantisation_names_those_that_there_are() -> None:
    """Another one is never taken silently."""
    with pytest.raises(ModelNotFound, match=r"BF16, IQ2_XXS, Q4_K_M, Q8_0"):
        select(LISTING, "Q5_K_M", MANY)


def test_default_fits_the_memory() -> None:
    """What does not fit is passed over; if nothing does, the smallest is taken."""
    sizes = {"m-Q4_K_M.gguf": 40 * GB, "m-Q3_K_M.gguf": 30 * GB, "m-Q2_K.gguf": 20 * GB}
    listing = [RepositoryFile(name, size) for name, size in sizes.items()]
    assert chosen(listing, memory=64 * GB) == ["m-Q4_K_M.gguf"]
    assert chosen(listing, memory=35 * GB) == ["m-Q3_K_M.gguf"]
    assert chosen(listing, memory=16 * GB) == ["m-Q2_K.gguf"]


def test_file_without_a_quantisation() -> None:
    """A single file needs no label."""
    selection = select(files("model.gguf"), None, MANY)
    assert (selection.label, chosen(files("model.gguf"))) == ("latest", ["model.gguf"])


def test_nothing_to_select() -> None:
    """A repository without GGUF files, or with half of a split model, says so."""
    with pytest.raises(InvalidModelFile, match="no GGUF"):
        select(files("model.safetensors", "mmproj-f16.gguf"), None, MANY)
    with pytest.raises(InvalidModelFile, match="1 of the 2 parts"):
        select(files("m-Q4_0-00001-of-00002.gguf"), None, MANY)
