"""Models in ModelPack's form; pushes of them are in tests/integration/test_pulls."""

from __future__ import annotations

import pytest

from runnerd.models.modelpack_writing import param_size


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0.0K"), (999, "1.0K"), (1500, "1.5K"), (7 * 10**9, "7B"), (361_820_000, "361.8M"),
     (1_500_000_000_000, "1.5T")],
)  # fmt: skip
def test_sizes(count: int, told: str) -> None:
    """A number with at most one decimal, and one letter."""
    assert param_size(count) == told
