"""Breaks lines between words while a text comes in pieces.

A word is held back until it has ended, which the next piece usually says: nothing that was shown
has to be taken back, so a terminal that knows no commands will do.  Code between fences (```) is
left as it is, for whoever copies it.
"""

from __future__ import annotations

from collections.abc import Callable

_FENCE = "```"
_TAB = 8


class WordWrap:
    """Lines of `width()` columns, None for as long as they come; it is asked at each piece."""

    def __init__(self, width: Callable[[], int | None]) -> None:
        self._width = width
        self._now: int | None = None
        self._column = 0
        self._word = ""
        self._columns = 0  # of the word
        self._begun = ""  # the first letters of the line, which may be a fence
        self._in_code = False
        self._is_long = False  # the word: longer than any line, so the terminal breaks it

    def fed(self, text: str) -> str:
        """What can be shown once this text has come."""
        self._now = self._width()
        return "".join(map(self._letter, text))

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        return self._word_ended()

    def _letter(self, letter: str) -> str:
        if letter == "\n":
            return self._line_ended()
        if len(self._begun) < len(_FENCE) and (self._begun or not letter.isspace()):
            self._begun += letter
        columns = _columns_of(letter)
        if letter in " \t":
            self._is_long = False
            return self._word_ended() + self._space(letter)
        if self._is_long:
            beyond = self._now is not None and self._column + columns > self._now
            self._column = columns if beyond else self._column + columns
            return letter
        if columns > 1:  # scripts of wide letters are broken anywhere
            said = self._word_ended()
            self._word, self._columns = letter, columns
            return said + self._word_ended()
        self._word += letter
        self._columns += columns
        if self._in_code or self._now is None or self._columns >= self._now:
            self._is_long = not self._in_code and self._now is not None
            return self._word_ended()
        return ""

    def _word_ended(self) -> str:
        word, columns = self._word, self._columns
        self._word, self._columns = "", 0
        if self._breaks(columns):
            self._column = columns
            return f"\n{word}"
        self._column += columns
        return word

    def _space(self, letter: str) -> str:
        columns = 1 if letter == " " else _TAB - self._column % _TAB
        if self._breaks(columns):
            return ""  # at the end of a line nobody misses it
        self._column += columns
        return letter

    def _breaks(self, columns: int) -> bool:
        """Whether so much more does not fit into the line, and is better put into the next."""
        if self._in_code or self._now is None or self._column == 0:
            return False
        return self._column + columns > self._now

    def _line_ended(self) -> str:
        said = self._word_ended()
        if self._begun == _FENCE:
            self._in_code = not self._in_code
        self._column, self._begun, self._is_long = 0, "", False
        return f"{said}\n"


def _columns_of(letter: str) -> int:
    """How many columns of a terminal a letter takes."""
    if letter.isascii():
        return 1
    from rich.cells import get_character_cell_size

    return get_character_cell_size(letter)
