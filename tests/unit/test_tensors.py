"""runnerd.models.tensors: the numbers that GGUF files use, held against the gguf package's."""

from __future__ import annotations

import gguf
import pytest

from runnerd.models.tensors import FILE_TYPE_GUESSED, FILE_TYPES, TENSOR_TYPES


@pytest.mark.parametrize("kind", gguf.GGMLQuantizationType)
def test_a_tensor_type_is_as_ggml_has_it(kind: gguf.GGMLQuantizationType) -> None:
    """Name and size of a block; what is newer than the table has no size."""
    if (found := TENSOR_TYPES.get(int(kind))) is not None:
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        if kind is gguf.GGMLQuantizationType.Q8_1:  # two halves; the package has two floats
            block_bytes -= 4
        assert (found.name, found.block, found.block_bytes) == (kind.name, block, block_bytes)


def test_most_are_known() -> None:
    """No more than a few are newer."""
    assert len({int(kind) for kind in gguf.GGMLQuantizationType} - TENSOR_TYPES.keys()) <= 3


def test_file_types_are_as_llama_has_them() -> None:
    """The name of one says how most weights are stored."""
    for kind in gguf.LlamaFileType:
        if int(kind) in FILE_TYPES:
            name = kind.name.removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_MOE")
            assert FILE_TYPES[int(kind)] == name
    assert FILE_TYPE_GUESSED == int(gguf.LlamaFileType.GUESSED)
