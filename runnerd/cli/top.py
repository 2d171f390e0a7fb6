"""`runnerd top`: devices, runners and requests, live, with keys to unload, pin and cancel.

The daemon is asked once a second, and at once after a key has changed something.
"""

from __future__ import annotations

import argparse
import curses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.model_paths import model_path
from runnerd.cli.ps import HEAD, SPARE, device_lines, remarks, row
from runnerd.cli.requests import running_row
from runnerd.cli.tables import cut, familiar, table
from runnerd.errors import ClientError, RunnerdError

_EVERY = 1.0  # seconds
_KEYS = "j/k or arrows: choose   u: unload   p: pin   c: cancel   q: quit"
_REQUESTS = ("ID", "STATE", "MODEL", "USER", "OPERATION", "SECONDS", "FIRST BYTE", "ORIGIN")
_UP, _DOWN = frozenset({curses.KEY_UP, ord("k")}), frozenset({curses.KEY_DOWN, ord("j")})

Overview = Mapping[str, Any]


def top(options: argparse.Namespace) -> int:
    """Show it until `q` or Ctrl-C."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ClientError("top takes a terminal; `runnerd ps` prints the same once")
    client = Client(options.host)
    first = client.json("GET", "/runnerd/overview")  # who cannot be asked says so in plain text
    os.environ.setdefault("ESCDELAY", "25")
    for name in ("COLUMNS", "LINES"):  # a screen is as large as it is, whatever these say
        os.environ.pop(name, None)
    try:
        curses.wrapper(lambda screen: _watch(screen, client, Board(first)))
    except curses.error as error:
        raise ClientError(
            f"this terminal (TERM={os.environ.get('TERM', '')}) cannot be drawn on: {error}"
        ) from error
    except KeyboardInterrupt:
        pass
    return 0


@dataclass
class Board:
    """What is shown: the newest overview, which line is chosen, and what a key has led to."""

    overview: Overview
    chosen: int = 0
    said: str = ""

    @property
    def things(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What can be chosen, in order: runners, then requests."""
        runners = [("runner", each) for each in self.overview["runners"]]
        return runners + [("request", each) for each in self.overview["requests"]]

    def take(self, overview: Overview) -> None:
        """Show a newer overview; what was chosen stays so, if it is there."""
        before = self._chosen_id()
        self.overview = overview
        ids = [_id(kind, each) for kind, each in self.things]
        self.chosen = ids.index(before) if before in ids else min(self.chosen, len(ids) - 1)
        self.chosen = max(0, self.chosen)

    def move(self, by: int) -> None:
        """Choose the next line, or the one before."""
        self.chosen = max(0, min(len(self.things) - 1, self.chosen + by))

    def chosen_thing(self, kind: str) -> Mapping[str, Any] | None:
        """The chosen line where it is of this kind."""
        things = self.things
        if not things or things[self.chosen][0] != kind:
            self.said = f"choose a {kind} first"
            return None
        return things[self.chosen][1]

    def _chosen_id(self) -> str:
        things = self.things
        return _id(*things[self.chosen]) if things else ""

    def lines(self, width: int) -> list[tuple[str, bool]]:
        """Every line, and whether it is the chosen one."""
        overview = self.overview
        lag = overview["loop_lag_seconds"]["worst"] * 1000
        head = (
            f"runnerd {overview['version']}   {overview['running']} requests,"
            f" {overview['queue']['waiting']} wait   {overview['tokens_per_second']:.1f} tokens/s"
            f"   loop lag {lag:.0f} ms"
        )
        plain = [head, *device_lines(overview["devices"], width), ""]
        found = [(cut(line, width), False) for line in plain]
        runners, requests = overview["runners"], overview["requests"]
        found += self._table(HEAD, [row(each) for each in runners], width, SPARE, 0)
        found += [(cut(line, width), False) for line in remarks(overview)]
        found += [("", False)]
        rows = [running_row(each) for each in requests]
        spare = ("ORIGIN", "FIRST BYTE", "OPERATION")
        return found + self._table(_REQUESTS, rows, width, spare, len(runners))

    def _table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[object]],
        width: int,
        spare: Sequence[str],
        first: int,
    ) -> list[tuple[str, bool]]:
        lines = table(head, rows, width=width, spare=spare)
        return [(cut(line, width), at == self.chosen - first) for at, line in enumerate(lines, -1)]


def _id(kind: str, thing: Mapping[str, Any]) -> str:
    return f"{kind} {thing['id'] or thing['model']}"


def _watch(screen: curses.window, client: Client, board: Board) -> None:
    curses.use_default_colors()
    _cursor(shown=False)
    screen.keypad(True)
    asked = time.monotonic()
    while True:
        _draw(screen, board)
        left = _EVERY - (time.monotonic() - asked)
        screen.timeout(max(0, int(left * 1000)))
        key = screen.getch()
        if key in (ord("q"), 27):
            return
        changed = _press(key, client, board)
        if changed or time.monotonic() - asked >= _EVERY:
            asked = time.monotonic()
            _ask(client, board)


def _ask(client: Client, board: Board) -> None:
    try:
        board.take(client.json("GET", "/runnerd/overview"))
    except RunnerdError as error:
        board.said = error.message


def _press(key: int, client: Client, board: Board) -> bool:
    """Do what a key says; return whether something has changed."""
    if key in _UP | _DOWN:
        board.move(-1 if key in _UP else 1)
        return False
    work = _WORK.get(chr(key)) if 0 <= key < 128 else None
    if work is None:
        return False
    try:
        work(client, board)
    except RunnerdError as error:
        board.said = error.message
    return True


def _unload(client: Client, board: Board) -> None:
    if (runner := board.chosen_thing("runner")) is not None:
        document = {"models": [runner["model"]], "force": False}
        done = client.json("POST", "/engines/unload", document)
        name, kept = familiar(runner["model"]), done.get("runners_in_use")
        board.said = f"{name} is in use; it stays" if kept else f"unloading {name}"


def _pin(client: Client, board: Board) -> None:
    if (runner := board.chosen_thing("runner")) is not None:
        document = {"pinned": not runner["pinned"], "mode": runner["mode"]}
        client.json("POST", f"{model_path(runner['model'])}/configure", document)
        does = "may go again" if runner["pinned"] else "stays loaded"
        board.said = f"{familiar(runner['model'])} {does}"


def _cancel(client: Client, board: Board) -> None:
    if (request := board.chosen_thing("request")) is not None:
        client.json("DELETE", f"/runnerd/requests/{quote(request['id'], safe='')}")
        board.said = f"ended {request['id']} of {request['user']}"


_WORK: Mapping[str, Callable[[Client, Board], None]] = {"u": _unload, "p": _pin, "c": _cancel}


def _draw(screen: curses.window, board: Board) -> None:
    height, width = screen.getmaxyx()
    screen.erase()
    room = max(0, height - 2)
    for at, (line, is_chosen) in enumerate(board.lines(width - 1)[:room]):
        screen.addstr(at, 0, line, curses.A_REVERSE if is_chosen else curses.A_NORMAL)
    if height > 1:
        screen.addstr(height - 2, 0, cut(board.said, width - 1))
        screen.addstr(height - 1, 0, cut(_KEYS, width - 1), curses.A_DIM)
    screen.refresh()


def _cursor(*, shown: bool) -> None:
    try:
        curses.curs_set(int(shown))
    except curses.error:  # a terminal that cannot hide it
        pass
