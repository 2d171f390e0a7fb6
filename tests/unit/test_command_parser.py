"""What is typed in another order than argparse likes, and what is mistyped."""

from __future__ import annotations

import pytest

from runnerd.cli.arguments import parse

COVERS = ("runnerd.cli.arguments",)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "m", "--seed", "1", "two", "words"],
        ["run", "m", "two", "words", "--seed", "1"],
        ["run", "--seed", "1", "m", "two", "words"],
        ["run", "m", "two", "--seed", "1", "words"],
    ],
)
def test_options_may_stand_anywhere(arguments: list[str]) -> None:
    """The prompt is what is left."""
    options = parse(arguments)
    assert (options.model, options.prompt, options.seed) == ("m", ["two", "words"], 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "there is no command 'lst'; did you mean ls?"),
        (["user", "ad"], "did you mean add?"),
        (["qqqq"], "`runnerd --help` lists them"),
        (["rm", "m", "--forse"], "unrecognized argument --forse; did you mean --force?"),
        (["run", "m", "--systme", "x"], "did you mean --system?"),
        (["show", " "], "the name is empty"),
        (["show"], "`runnerd show --help`"),
        (["run"], "required: model\n"),
        (["submit"], "required: model\n"),
        (["embed"], "`runnerd embed --help`"),
        (["ls", "more"], "unrecognized argument more"),
        (["pull", "m", "--sha256", ""], "--sha256: the value is empty: is a variable not set?"),
        (["serve", "--config="], "--config: the value is empty"),
        (["--host", " ", "ls"], "--host: the value is empty"),
        (["key", "list", ""], "the value is empty"),
        (["run", "m", "--temperature", "nan"], "--temperature: nan is no number"),
        (["submit", "m", "--temperature", "-inf"], "--temperature: "),
        (["submit", "m", "--temperature", "1e999"], "1e999 is no number that can be used"),
        (["submit", "m", "--temperature", "hot"], "hot is no number that can be used"),
    ],
)
def test_mistakes_are_told_with_what_was_meant(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with status 2."""
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
