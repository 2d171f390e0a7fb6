"""What engines tell of themselves, read with care."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.observability.engine_series import EngineSample, parsed

TEXT = """# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 42
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1.5e1
untyped 3
llamacpp:requests_processing{label="x"} 7
# TYPE llamacpp:odd histogram
llamacpp:odd 1
# TYPE llamacpp:wrong gauge
llamacpp:wrong 1.2.3
"""


def test_counters_and_gauges_without_labels() -> None:
    """And nothing else."""
    assert parsed(TEXT.splitlines()) == [
        EngineSample(
            "llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens processed.", 42.0
        ),
        EngineSample("llamacpp:requests_processing", "gauge", "", 15.0),
    ]


@given(st.text())
def test_whatever_an_engine_says(text: str) -> None:
    """It is a figure or nothing."""
    for sample in parsed(text.splitlines()):
        assert isinstance(sample.value, float)
