"""docs/compatibility.md says what the tests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import compatibility


def test_the_page_is_what_the_tests_claim() -> None:
    """Whoever changes a mark makes the page anew."""
    made = compatibility.page()
    assert compatibility.PAGE.read_text() == made, (
        "run: python -m tests.support.compatibility > docs/compatibility.md"
    )


@pytest.mark.parametrize(
    "mark",
    [
        'pytest.mark.covers("POST /api/chat", "colour")',
        'pytest.mark.covers("POST /api/chat", "think", how="maybe")',
    ],
)
def test_claims_that_cannot_be(tmp_path: Path, mark: str) -> None:
    """A field that the dialect does not have, or another word for how, is an error."""
    (tmp_path / "test_x.py").write_text(f"@{mark}\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match="test_a"):
        compatibility.claims(tmp_path)
