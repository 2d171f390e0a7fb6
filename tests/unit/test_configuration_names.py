"""A draft model is named as any model is: never by a path."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runnerd.backends.configuration import SpeculativeDecoding


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "a/../b", "./x", "a//b", "a/", "", "a b", "a\nb", "~/x", ".x",
     "a/.hidden", "x" * 600, "a\\b", "-flag"],
)  # fmt: skip
def test_a_path_is_no_draft_model(name: str) -> None:
    """Whatever could be one is refused when it is said."""
    with pytest.raises(ValidationError, match="draft_model"):
        SpeculativeDecoding(draft_model=name)


@pytest.mark.parametrize(
    "name",
    ["smollm2", "ai/smollm2:135M-Q4_K_M", "hf.co/org/Repo-GGUF:Q4_0", "r.example.com:5000/a/b:c",
     "ai/x@sha256:" + "a" * 64, "sha256:" + "a" * 64],
)  # fmt: skip
def test_names_are(name: str) -> None:
    """Everything that names a model does."""
    assert SpeculativeDecoding(draft_model=name).draft_model == name
