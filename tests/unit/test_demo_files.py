"""The committed demo models and expected answers, as far as no engine is needed for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 2_000_000


@pytest.mark.parametrize("name", ["demo-a", "demo-b", "demo-embed", "demo-rerank"])
def test_each_model_is_a_small_gguf(name: str) -> None:
    """A model in the repository is a GGUF of at most 2 MB."""
    path = ROOT / "demo" / f"{name}.gguf"
    with path.open("rb") as file:
        magic = file.read(4)

    assert b"GGUF" == magic
    assert path.stat().st_size <= LARGEST_BYTES


def test_the_two_chat_models_differ_in_nothing_but_the_name() -> None:
    """Both know the same questions; enough answers carry the name to show a crossed one."""
    cases = json.loads((ROOT / "tests" / "demo_answers.json").read_text())["chat"]
    first = [json.dumps(case["answers"]["demo-a"]) for case in cases]
    second = [json.dumps(case["answers"]["demo-b"]) for case in cases]

    assert [response.replace("Demo A", "Demo B") for response in first] == second
    assert sum("Demo A" in response for response in first) >= 10
    assert len({case["id"] for case in cases}) == len(cases) >= 40
