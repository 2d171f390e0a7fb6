"""Lines broken between words, of a text that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.cli.chat.word_wrap import WordWrap


def wrapped(text: str, width: int | None, pieces: int = 1) -> str:
    """A text that came in pieces of so many letters."""
    lines = WordWrap(lambda: width)
    parts = [text[at : at + pieces] for at in range(0, len(text), pieces)]
    return "".join(map(lines.fed, parts)) + lines.rest()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one two three", "one two \nthree"),
        ("one two th", "one two th"),
        ("one two three four", "one two \nthree four"),
        ("one  two\nthree", "one  two\nthree"),
        ("exactly10c here", "exactly10c\nhere"),
        ("a averyveryverylongword b", "a \naveryveryverylongword b"),
        ("漢字漢字漢字", "漢字漢字漢\n字"),
        ("```\nx = 1 + 2 + 3\n```\none two three", "```\nx = 1 + 2 + 3\n```\none two \nthree"),
        ("a\tb three", "a\tb \nthree"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_lines_of_ten_columns(text: str, seen: str, pieces: int) -> None:
    """However the text is cut into pieces."""
    assert wrapped(text, 10, pieces) == seen


def test_what_is_shown_before_the_end() -> None:
    """All but the word that may go on; and all of it where there is no width."""
    lines = WordWrap(lambda: 10)
    assert lines.fed("one tw") == "one "
    assert lines.fed("o three") == "two "
    assert lines.rest() == "\nthree"
    assert WordWrap(lambda: None).fed("one tw") == "one tw"


@given(st.text(alphabet="ab é漢\n\t`", max_size=200), st.integers(1, 30), st.integers(1, 9))
def test_only_spaces_are_changed(text: str, width: int, pieces: int) -> None:
    """Some become ends of lines; no letter is lost, and the pieces do not matter."""
    seen = wrapped(text, width, pieces)
    assert "".join(seen.split()) == "".join(text.split())
    assert seen == wrapped(text, width, len(text) + 1)
    assert wrapped(text, None, pieces) == text
