"""The arguments of `runnerd run`."""

from __future__ import annotations

from runnerd.cli.arguments import parse


def test_think_takes_no_word_of_the_prompt() -> None:
    """Its value is joined to it."""
    options = parse(["run", "m", "--think", "high"])
    assert (options.think, options.prompt) == ("true", ["high"])
    assert parse(["run", "m", "--think=high"]).think == "high"
