"""Addresses that people paste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.models.pages import model_of_page

HUB = "https://huggingface.co/Org/Repo-GGUF"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (HUB, "hf.co/Org/Repo-GGUF"),
        (f"  {HUB}/ ", "hf.co/Org/Repo-GGUF"),
        (f"{HUB}/tree/main", "hf.co/Org/Repo-GGUF"),
        (f"{HUB}/tree/v2", "hf.co/Org/Repo-GGUF@v2"),
        (f"{HUB}/blob/main/m-Q4_K_M.gguf", "hf.co/Org/Repo-GGUF:m-Q4_K_M.gguf"),
        (f"{HUB}/blob/main/BF16/m-BF16.gguf?x=1", "hf.co/Org/Repo-GGUF:m-BF16.gguf"),
        (f"{HUB}/blob/v2/m.gguf", "hf.co/Org/Repo-GGUF@v2:m.gguf"),
        (f"{HUB}/blob/main/README.md", "hf.co/Org/Repo-GGUF"),
        (f"{HUB}?show_file_info=m-Q8_0.gguf", "hf.co/Org/Repo-GGUF:m-Q8_0.gguf"),
        (f"{HUB}?library=llama.cpp", "hf.co/Org/Repo-GGUF"),
        ("huggingface.co/Org/Repo/blob/main/x.gguf", "hf.co/Org/Repo:x.gguf"),
        (f"{HUB}:Q4_K_M", "hf.co/Org/Repo-GGUF:Q4_K_M"),
        ("HTTPS://HuggingFace.co/Org/Repo", "hf.co/Org/Repo"),
        ("https://ollama.com/library/x", "registry.ollama.ai/library/x"),
        ("ollama.com/library/x:7b", "registry.ollama.ai/library/x:7b"),
        ("https://ollama.com/library/x/tags", "registry.ollama.ai/library/x"),
        ("https://ollama.com/library/x:7b/blobs/0123", "registry.ollama.ai/library/x:7b"),
        ("https://ollama.com/user/x", "registry.ollama.ai/user/x"),
        ("ollama.com/x", "registry.ollama.ai/library/x"),
        ("registry.ollama.ai/library/x:1", "registry.ollama.ai/library/x:1"),
        ("https://hub.docker.com/r/ai/smollm2", "ai/smollm2"),
        ("https://hub.docker.com/r/ai/smollm2/tags", "ai/smollm2"),
    ],
)
def test_pages(text: str, model: str) -> None:
    """The page of a model is the model."""
    assert model_of_page(text) == model


@pytest.mark.parametrize(
    "text",
    [
        "smollm2", "hf.co/org/repo:Q4", "hf.co/org/repo@v2:Q4", "https://example.com/a/b",
        f"{HUB}/resolve/main/m.gguf", "https://huggingface.co/datasets/a/b",
        "https://huggingface.co/a", "https://ollama.com", "https://ollama.com/blog/x", "https://[::1/",
        "huggingface.co.evil.com/a/b",
        "https://hub.docker.com/_/x",
    ],
)  # fmt: skip
def test_what_is_no_page_stays(text: str) -> None:
    """References, files and other addresses mean what they meant."""
    assert model_of_page(text) == text


@given(st.text(max_size=60) | st.text("/:.@?=%[]ahf", max_size=30).map("https://hf.co/".__add__))
def test_any_text(text: str) -> None:
    """Nothing that is pasted is more than a text."""
    assert isinstance(model_of_page(text), str)
