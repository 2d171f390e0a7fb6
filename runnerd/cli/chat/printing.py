"""Shows responses on a terminal, or hands their text alone to a pipe.

Standard output carries the response and nothing else; what is said about it (that a model loads,
how long it took) goes to standard error.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Iterator

from runnerd.cli.chat.response_events import Piece, StreamedChat
from runnerd.cli.chat.word_wrap import WordWrap
from runnerd.cli.terminal import coloured, columns, spinner

_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of writing for everything behind them."""
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def printed(chat: StreamedChat, *, verbose: bool) -> str:
    """Print a response as it comes and return its text.  Raises RunnerdError, KeyboardInterrupt.

    Reasoning is dim, and left out where a program reads.
    """
    started = time.monotonic()
    pieces = chat.pieces()
    with spinner("waiting for the response"):
        first = next(pieces, None)
    first_after = time.monotonic() - started
    text = _print_pieces(first, pieces)
    if verbose:
        _print_timings(chat, first_after, time.monotonic() - started)
    return text


def _print_pieces(first: Piece | None, rest: Iterator[Piece]) -> str:
    if not sys.stdout.isatty():
        return _pass_on(_chained(first, rest))
    colours = coloured(sys.stdout)
    dim, content, lines = False, [], WordWrap(lambda: columns(sys.stdout))
    try:
        for piece in _chained(first, rest):
            if dim != piece.reasoning:
                print(lines.rest(), end="")
                dim = piece.reasoning
                print((_DIM if dim else _PLAIN) if colours else "", end="" if dim else "\n")
                lines = WordWrap(lambda: columns(sys.stdout))
            print(lines.fed(shown(piece.text)), end="", flush=True)
            if not piece.reasoning:
                content.append(piece.text)
    finally:
        print(lines.rest() + (_PLAIN if dim and colours else ""))
    return "".join(content)


def _pass_on(pieces: Iterator[Piece]) -> str:
    """Print for a program: the response as it is, without reasoning."""
    content = []
    try:
        for piece in pieces:
            if not piece.reasoning:
                print(piece.text, end="", flush=True)
                content.append(piece.text)
    finally:
        print()
    return "".join(content)


def shown(text: str) -> str:
    """A model's text as a terminal may have it: nothing in it is a command to the terminal.

    Models repeat what they have read, and some of that was written by others.
    """
    if text.isprintable():
        return text
    return "".join(
        c for c in text if c in "\n\t" or not (unicodedata.category(c) == "Cc" or c in _TURNS)
    )


def _chained(first: Piece | None, rest: Iterator[Piece]) -> Iterator[Piece]:
    if first is not None:
        yield first
        yield from rest


def _print_timings(chat: StreamedChat, first_after: float, total: float) -> None:
    """Say how long a response took, in the engine's figures where it gives some."""
    timings, usage = chat.timings, chat.usage
    cached = timings.get("cache_n") or 0
    prompt = usage.get("prompt_tokens", timings.get("prompt_n", 0) + cached)
    made = usage.get("completion_tokens", timings.get("predicted_n", 0))
    for name, text in (
        ("time to first token", f"{first_after:.2f} s"),
        ("prompt", f"{prompt} tokens, {cached} of them known before{_speed(timings, 'prompt')}"),
        ("response", f"{made} tokens{_speed(timings, 'predicted')}"),
        ("in all", f"{total:.2f} s"),
    ):
        print(f"{name + ':':20} {text}", file=sys.stderr)


def _speed(timings: dict[str, float], which: str) -> str:
    speed = timings.get(f"{which}_per_second")
    return f", {speed:.1f} tokens/s" if speed else ""
