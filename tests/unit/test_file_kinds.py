"""What the files of a repository are; how names tell it is in test_selection."""

from __future__ import annotations

import pytest

from runnerd.models.gguf_start import GGUFStart
from runnerd.pulls.file_kinds import FileKind, bits_of, kind_by_header


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (GGUFStart(3, "model", "llama"), FileKind.WEIGHTS),
        (GGUFStart(3, "adapter", "llama"), FileKind.ADAPTER),
        (GGUFStart(3, "", "clip"), FileKind.PROJECTOR),
        (GGUFStart(3, "imatrix"), FileKind.MATRIX),
        (GGUFStart(0, "", "llama"), FileKind.VOCABULARY),
        (GGUFStart(3, "", "eagle3"), FileKind.DRAFT),
        (GGUFStart(3, "", "gemma4-assistant"), FileKind.DRAFT),
        (GGUFStart(3), FileKind.WEIGHTS),
    ],
)
def test_kinds_by_header(start: GGUFStart, kind: FileKind) -> None:
    """Type, architecture and number of tensors tell files apart."""
    assert kind_by_header(start) is kind


@pytest.mark.parametrize(
    ("label", "bits"), [("Q4_K_M", 4.5), ("IQ2_XXS", 2.5), ("BF16", 16), ("F32", 32), ("latest", 8)]
)
def test_bits(label: str, bits: float) -> None:
    """A quantisation says about how large a weight is."""
    assert bits_of(label) == bits
