"""What can be typed after `runnerd worker`."""

from __future__ import annotations

import pytest

from runnerd.cli.arguments import parse


def test_worker() -> None:
    """Queues with and without a model, and times."""
    options = parse(["worker", "--queue", "a=m", "--queue", "b", "--quantum", "2m", "--once"])
    assert options.queue == [("a", "m"), ("b", None)]
    assert (options.quantum, options.once, options.jobs, options.pull) == (
        120.0,
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    "said", [["--queue", "=m"], ["--queue", "x" * 256], ["--quantum", "-1"], ["--quantum", "soon"]]
)
def test_wrong(said: list[str]) -> None:
    """It is said what is wrong."""
    with pytest.raises(SystemExit):
        parse(["worker", *said])
