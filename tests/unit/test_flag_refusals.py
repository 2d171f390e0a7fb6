"""runnerd.backends.llamacpp.flag_refusals: every flag of llama-server is offered or refused."""

from __future__ import annotations

from runnerd.backends.llamacpp.flag_refusals import REASONS, UNKNOWN
from runnerd.backends.llamacpp.flag_table import FLAGS


def test_a_reason_is_a_sentence_of_its_own() -> None:
    """It says what does this here, and is no flag by mistake."""
    for name, reason in REASONS.items():
        assert name.startswith("-"), name
        assert name == name.strip()
        assert " " in reason
        assert not reason.endswith(".")
        assert reason != UNKNOWN


def test_what_is_refused_is_not_offered() -> None:
    """By any of its names."""
    offered = {name for flag in FLAGS for name in (flag.name, *flag.aliases)}
    assert offered & REASONS.keys() == set()


def test_what_reaches_out_or_writes_elsewhere_is_refused() -> None:
    """Whatever else changes, these are."""
    for name in (
        "--rpc", "--hf-repo", "--model-url", "--host", "--port", "--slot-save-path", "--tools",
        "--log-file", "--media-path", "--lora", "--props", "--chat-template-file", "--grammar-file",
    ):  # fmt: skip
        assert name in REASONS
