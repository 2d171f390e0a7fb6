"""What engines tell of themselves, read with care."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from runnerd.observability.engine_series import EngineSample, EngineSeries, parsed

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


async def test_who_was_not_used_since_is_not_asked_again(tmp_path: Path) -> None:
    """What it has told still holds; one in use is asked each time, and one that is gone is not."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode().split()[1])
        body = TEXT.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "e")
    runner = cast(Any, SimpleNamespace(name="r", engine_socket=tmp_path / "e"))
    gone = cast(Any, SimpleNamespace(name="gone", engine_socket=tmp_path / "none"))
    series = EngineSeries()
    for idle_since, times in (({}, 1), ({"r": 1.0}, 2), ({"r": 1.0}, 2), ({"r": 2.0}, 3), ({}, 4)):
        found = await series.samples([runner, gone], idle_since)
        assert [sample.value for sample in found["r"]] == [42.0, 15.0]
        assert found.keys() == {"r"}
        assert asked == ["/metrics"] * times
    server.close()
    await server.wait_closed()
    (tmp_path / "e").unlink(missing_ok=True)
