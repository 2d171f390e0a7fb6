"""The lines that somebody types, with an editor and a history; one text for each Enter.

prompt_toolkit reads them: pasted lines arrive as one text (bracketed paste), Alt-Enter begins a new
line, Tab completes commands and names of files.  What was typed may be private: the history is the
user's alone, and RUNNERD_NOHISTORY=1 keeps none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.output.vt100 import Vt100_Output

_FENCE = '"""'
_MOST_BYTES = 2**20  # of the history; the older half goes


def typed_lines(commands: Iterable[str]) -> Iterator[str]:
    """Yield what is typed, until the end of the input; Ctrl-C drops the line."""
    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False  # not every terminal answers where its cursor is
    session: PromptSession[str] = PromptSession(
        output=output,
        history=_history(),
        completer=_Names(sorted(commands)),
        complete_while_typing=False,
        key_bindings=_keys(),
        prompt_continuation="... ",
        enable_open_in_editor=True,
    )
    while True:
        try:
            text = session.prompt(ANSI(">>> ")).strip()
            if text.startswith(_FENCE):
                text = _several_lines(session, text.removeprefix(_FENCE))
        except EOFError:
            return
        except KeyboardInterrupt:
            continue
        if text:
            yield text


def _several_lines(session: PromptSession[str], text: str) -> str:
    while not text.endswith(_FENCE):
        text += "\n" + session.prompt("... ")
    return text.removesuffix(_FENCE).strip()


def _keys() -> KeyBindings:
    keys = KeyBindings()
    keys.add("escape", "enter")(_new_line)
    return keys


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


class _Names(Completer):
    """Completes commands at the beginning of a line, and names of files behind @, / and ."""

    def __init__(self, commands: list[str]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if before.startswith("/") and " " not in before:
            for command in self._commands:
                if command.startswith(before):
                    yield Completion(command, -len(before))
        word = before.rpartition(" ")[2]
        if word.startswith(("@", "/", "./", "../", "~/")):
            path = word.removeprefix("@")
            yield from self._paths.get_completions(Document(path, len(path)), event)


def _history() -> History:
    file = _file()
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.chmod(0o600)
        _shorten(file)
    except OSError:  # no reason not to talk
        return InMemoryHistory()
    return _KeptHistory(str(file))


class _KeptHistory(FileHistory):
    """A history on disk; a disk that cannot be written costs the history alone."""

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


def _shorten(file: Path) -> None:
    if file.stat().st_size > _MOST_BYTES:
        content = file.read_bytes()[-_MOST_BYTES // 2 :]
        begins = content.find(b"\n#")  # each entry begins with its time
        file.write_bytes(content[begins:] if begins >= 0 else b"")


def _file() -> Path | None:
    if os.environ.get("RUNNERD_NOHISTORY"):
        return None
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "runnerd" / "history"
