"""The figures of `runnerd bench`."""

from __future__ import annotations

import pytest

from runnerd.cli.bench import Response, Round, _counts, summed
from runnerd.errors import ClientError


def test_figures_of_a_round() -> None:
    """First tokens from each one's beginning, speeds from the first token on."""
    responses = [Response(0.0, 1.0, 3.0, 100, 21), Response(0.5, 2.0, 4.0, 100, 41)]
    assert summed(responses) == Round(2, 1.25, 1.5, 100.0, 15.0, 62 / 3)


def test_one_token_has_no_speed() -> None:
    """Nothing is divided by nothing."""
    assert summed([Response(0.0, 0.0, 0.0, 0, 1)]) == Round(1, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_numbers_of_clients() -> None:
    """With commas, within bounds."""
    assert _counts("1, 4,16") == [1, 4, 16]
    for wrong in ("", "0", "a", "1,,x", "257", "-1"):
        with pytest.raises(ClientError):
            _counts(wrong)
