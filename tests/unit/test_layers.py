"""runnerd.backends.llamacpp.layers: what an engine says of where its layers are."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.llamacpp.layers import LoadOutput, where

SAID = b"""0.00.1 I load_tensors: offloading output layer to GPU
0.00.1 I load_tensors: offloaded 29/33 layers to GPU
0.00.1 I load_tensors:   CPU_Mapped model buffer size =   512.40 MiB
0.00.1 I load_tensors:        CUDA0 model buffer size =  4000.00 MiB
0.00.1 I load_tensors:        CUDA0 model buffer size =  1000.00 MiB
0.00.2 I llama_context: constructing llama_context
0.00.3 I load_tensors:        CUDA0 model buffer size =  7.00 MiB
"""
LINE = "29 of 33 layers are on the GPU, 512 MiB in CPU_Mapped, 5000 MiB in CUDA0"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_it_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
    """However the output arrives; what comes after the load is not searched."""
    caplog.set_level(logging.INFO)
    output = LoadOutput(tmp_path / "log", "abc")
    for start in range(0, len(SAID), size):
        output.feed(SAID[start : start + size])
    output.feed(SAID)
    output.close()
    (record,) = caplog.records
    assert record.getMessage().startswith("runner abc: 29 of 33 layers are on the GPU")
    times = re.compile(rb"^[-0-9]{10} [:.0-9]{12} ", re.MULTILINE)
    assert times.sub(b"", (tmp_path / "log").read_bytes()) == SAID + SAID


def test_an_engine_that_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No line at all is logged for it."""
    caplog.set_level(logging.INFO)
    output = LoadOutput(tmp_path / "log", "abc")
    output.feed(b"I srv  llama_server: model loaded\n")
    output.close()
    assert not caplog.records
    assert where(SAID.partition(b"0.00.2")[0]) == LINE


@given(st.binary(max_size=300))
def test_any_output(data: bytes) -> None:
    """Whatever it prints."""
    assert isinstance(where(data + b" model buffer size = 1.0 MiB"), str)
