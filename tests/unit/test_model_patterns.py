"""Which names a pattern is for."""

from __future__ import annotations

import pytest

from runnerd.access.logins import login_host
from runnerd.access.model_patterns import granted
from runnerd.models.reference import HUGGING_FACE, HUGGING_FACE_NAMES

SMALL, LARGE = "ai/smollm2:latest", "huggingface.co/org/large:Q4_K_M"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", (SMALL, LARGE)),
        ("ai/*", (SMALL,)),
        ("smollm2", (SMALL,)),
        ("SmolLM2:latest", (SMALL,)),
        ("ai/smollm?", (SMALL,)),
        ("smollm2:*", (SMALL,)),
        ("smollm", ()),
        ("hf.co/org/*", (LARGE,)),
        ("www.hf.co/org/*", (LARGE,)),
        ("www.huggingface.co/org/*", (LARGE,)),
        ("https://HF.co/org/*", (LARGE,)),
        ("huggingface.co/org/large:q4_k_m", (LARGE,)),
        ("docker.io/ai/smollm2", (SMALL,)),
        ("org/large*", ()),
        ("*large*", (LARGE,)),
        ("[", ()),
        ("", ()),
    ],
)
def test_patterns(pattern: str, names: tuple[str, ...]) -> None:
    """In any case, with and without what a reference can leave out."""
    assert granted((pattern,), (SMALL, LARGE)) == names


@pytest.mark.parametrize("name", HUGGING_FACE_NAMES)
def test_every_name_of_the_hub(name: str) -> None:
    """Grants and logins know all that references know."""
    assert granted((f"{name}/org/large:*",), (LARGE,)) == (LARGE,)
    assert login_host(f"https://{name}/") == HUGGING_FACE


def test_several_patterns() -> None:
    """A name that one of them is for is granted."""
    assert granted(("x", "smollm2"), (SMALL, LARGE)) == (SMALL,)
