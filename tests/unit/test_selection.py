"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest

from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.pulls.file_kinds import FileKind, RepositoryFile
from runnerd.pulls.selection import news, select

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


MB = 10**6


@pytest.mark.parametrize(
    ("listing", "model", "sidecars"),
    [
        pytest.param(
            {"mtp-m-Q4_K_M.gguf": 400 * MB, "m-Q4_K_M.gguf": 5 * GB},
            "m-Q4_K_M.gguf",
            {"mtp-m-Q4_K_M.gguf": "draft model"},
            id="a draft that sorts later",
        ),
        pytest.param(
            {"MTP/m-MTP-Q4_K_M.gguf": 400 * MB, "m-Q8_0.gguf": 8 * GB},
            "m-Q8_0.gguf",
            {"MTP/m-MTP-Q4_K_M.gguf": "draft model"},
            id="a draft with the usual quantisation, in a folder",
        ),
        pytest.param(
            {"eagle3-m-F16.gguf": 800 * MB, "m-Q4_K_M.gguf": 5 * GB},
            "m-Q4_K_M.gguf",
            {"eagle3-m-F16.gguf": "draft model"},
            id="eagle",
        ),
        pytest.param(
            {"gemma-12b-assistant-Q4_K_M.gguf": 300 * MB, "gemma-12b-Q4_K_M.gguf": 7 * GB},
            "gemma-12b-Q4_K_M.gguf",
            {"gemma-12b-assistant-Q4_K_M.gguf": "draft model"},
            id="assistant",
        ),
        pytest.param(
            {"A-imatrix.gguf": 5 * MB, "imatrix.gguf": MB, "m.gguf": GB},
            "m.gguf",
            {"A-imatrix.gguf": "importance matrix", "imatrix.gguf": "importance matrix"},
            id="importance matrices that sort first",
        ),
        pytest.param(
            {"m-f16.imatrix.gguf": 5 * MB, "m-f16.gguf": 5 * GB},
            "m-f16.gguf",
            {"m-f16.imatrix.gguf": "importance matrix"},
            id="an importance matrix that states a quantisation",
        ),
        pytest.param(
            {"M-imatrix-Q4_K_M.gguf": 5 * GB, "M-imatrix-Q8_0.gguf": 8 * GB},
            "M-imatrix-Q4_K_M.gguf",
            {},
            id="weights that were made with an importance matrix",
        ),
        pytest.param(
            {"Q-DRAFT-0.6B-Q4_0.gguf": 400 * MB, "Q-DRAFT-0.6B-Q8_0.gguf": 700 * MB},
            "Q-DRAFT-0.6B-Q4_0.gguf",
            {},
            id="a repository of drafts",
        ),
        pytest.param(
            {"open-assistant-Q4_K_M.gguf": 4 * GB, "open-assistant-Q8_0.gguf": 7 * GB},
            "open-assistant-Q4_K_M.gguf",
            {},
            id="a model of that name",
        ),
        pytest.param(
            {"lora-Q4_K_M.gguf": 90 * MB, "m-Q8_0.gguf": 8 * GB, "ggml-vocab-m.gguf": 4 * MB},
            "m-Q8_0.gguf",
            {"lora-Q4_K_M.gguf": "LoRA adapter", "ggml-vocab-m.gguf": "vocabulary only"},
            id="an adapter and a vocabulary",
        ),
        pytest.param(
            {"helper-Q4_K_M.gguf": 300 * MB, "m-Q8_0.gguf": 8 * GB},
            "m-Q8_0.gguf",
            {},
            id="something small of another name",
        ),
    ],
)
def test_model_and_not_its_sidecar(
    listing: dict[str, int], model: str, sidecars: dict[str, str]
) -> None:
    """What lies beside the weights is told, and never taken for them; in any order."""
    for names in (list(listing), list(reversed(listing))):
        selection = select([RepositoryFile(name, listing[name]) for name in names], None, MANY)
        assert [file.path for file in selection.weights] == [model]
        assert {path: kind.value for path, kind in selection.sidecars} == sidecars


def test_named_quantisation_is_the_models() -> None:
    """A draft of the same quantisation is another file, which its own name still gets."""
    listing = [
        RepositoryFile("a-mtp-Q4_K_M.gguf", 400 * MB),
        RepositoryFile("m-Q4_K_M.gguf", 5 * GB),
        RepositoryFile("mmproj-f16.gguf", 600 * MB),
    ]
    assert chosen(listing, "Q4_K_M") == ["m-Q4_K_M.gguf", "mmproj-f16.gguf"]
    assert chosen(listing, "a-mtp-Q4_K_M.gguf") == ["a-mtp-Q4_K_M.gguf"]


def test_doubt_is_told_and_settled_by_headers() -> None:
    """Files without a telling name are looked into; what was seen decides the next choice."""
    listing = [RepositoryFile("a.gguf", 2 * GB), RepositoryFile("b.gguf", GB)]
    first = select(listing, None, MANY)
    assert (first.weights[0].path, first.is_sure) == ("a.gguf", False)
    second = select(listing, None, MANY, {"a.gguf": FileKind.ADAPTER})
    assert (second.weights[0].path, second.is_sure) == ("b.gguf", True)
    with pytest.raises(InvalidModelFile, match="only LoRA adapter"):
        select(listing, None, MANY, dict.fromkeys(("a.gguf", "b.gguf"), FileKind.ADAPTER))


def test_choice_is_told() -> None:
    """What was chosen, what else there is, what was left out, and that nothing fits."""
    listing = [
        RepositoryFile("m-Q4_K_M.gguf", 5 * GB),
        RepositoryFile("m-Q8_0.gguf", 8 * GB),
        RepositoryFile("mtp-m.gguf", 400 * MB),
    ]
    told = "\n".join(news(select(listing, None, GB), 3, "o/r"))
    assert "Selected Q4_K_M quantization (default, 4.66 GiB): m-Q4_K_M.gguf" in told
    assert "There are also Q8_0 (7.45 GiB)" in told
    assert "Not taken: mtp-m.gguf (draft model)" in told
    assert "`runnerd pull hf.co/o/r:mtp-m.gguf`" in told
    assert "larger than this host's memory, as all are" in told


@pytest.mark.parametrize(
    ("drafts", "memory", "expected"),
    [
        ({"mtp-m-Q8_0.gguf": 900 * MB, "mtp-m-Q4_K_M.gguf": GB}, MANY, "mtp-m-Q4_K_M.gguf"),
        ({"mtp-m-Q8_0.gguf": 900 * MB, "mtp-m-F16.gguf": GB}, MANY, "mtp-m-Q8_0.gguf"),
        ({"nextn/m-dspark-F16.gguf": GB}, MANY, "nextn/m-dspark-F16.gguf"),
        ({"mtp-m-Q8_0.gguf": 2 * GB}, 7 * GB, None),  # no room beside the model
        ({"m-draft-Q8_0.gguf": 6 * GB}, MANY, None),  # slower than the model itself
        ({"medusa-m-Q4_K_M.gguf": GB}, MANY, None),  # llama.cpp has none of these
    ],
)
def test_the_draft_that_comes_along(
    drafts: dict[str, int], memory: int, expected: str | None
) -> None:
    """The one that is quantised as the model, else the smallest, where it is of use."""
    listing = [RepositoryFile(name, size) for name, size in drafts.items()]
    selection = select([*listing, RepositoryFile("m-Q4_K_M.gguf", 5 * GB)], None, memory)
    assert (None if selection.draft is None else selection.draft.path) == expected
    told = "\n".join(news(selection, 2, "o/r"))
    assert (expected or "nothing") not in told
    assert ("`runnerd pull hf.co/o/r:" in told) is (expected is None)
