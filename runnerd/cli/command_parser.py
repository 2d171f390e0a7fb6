"""argparse as people type: arguments and options in any order, and near names for mistakes."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

_FILES = (".gguf", ".tar")
_MAY_BE_EMPTY = frozenset({"listen", "label", "reason", "system", "prompt"})
"""What says something when it is empty: no TCP, and texts for people and models."""


def near(name: str, known: Iterable[str]) -> str:
    """A sentence's end that names what may have been meant; empty where nothing is near."""
    found = difflib.get_close_matches(name, list(known), 2, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


class CommandParser(argparse.ArgumentParser):
    """A parser of one command, or of several that lie below it."""

    _inside = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; `model --seed 1 prompt` has its prompt, which argparse alone does not see."""
        if self._inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            found, extra = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if extra:
            self.error(f"unrecognized argument {extra[0]}{self._near_option(extra[0])}")
        return found, extra

    def _required_message(self, message: str) -> str:
        """Without the arguments that may be left out: argparse names them where others lack."""
        start = "the following arguments are required: "
        if not message.startswith(start):
            return message
        spare = {
            str(name)
            for action in self._actions
            if action.nargs in ("*", "?")
            for name in (action.dest, action.metavar)
        }
        names = [name for name in message.removeprefix(start).split(", ") if name not in spare]
        return start + ", ".join(names)

    def _near_option(self, text: str) -> str:
        if not text.startswith("-"):
            return ""
        known = [option for action in self._actions for option in action.option_strings]
        return near(text.partition("=")[0], known)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Refuse a value that is empty: it is a shell's variable that is not set.

        To go on would mean what the option is there to prevent: all models, no limit, the settings
        and the daemon that nobody has named.
        """
        if _narrows(action) and any(not text.strip() for text in arg_strings):
            about = f" ({action.help})" if action.help else ""
            raise argparse.ArgumentError(
                action,
                f"the value is empty: is a variable not set? Say one, or leave it out{about}",
            )
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a command that there is not, with those that are spelt alike."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            every = f"`{self.prog} --help` lists them"
            hint = near(str(value), action.choices) or f"; {every}"
            raise argparse.ArgumentError(None, f"there is no command {value!r}{hint}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        """End with status 2: the command was typed wrong."""
        said = self._required_message(message)
        self.exit(2, f"runnerd: {said}\n(`{self.prog} --help` says what can be typed)\n")


def _narrows(action: argparse.Action) -> bool:
    """Whether an empty value would count as none at all; texts may be empty."""
    return bool(action.option_strings or action.nargs == "?") and action.dest not in _MAY_BE_EMPTY


def finite(text: str) -> float:
    """The type of an argument that is a number; infinite and none at all are no JSON."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is no number that can be used")
    return number


def model_name(text: str) -> str:
    """The type of an argument that names a model."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; `runnerd ls` lists the models")
    if text.startswith((".", "/")) and text.lower().endswith(_FILES):
        raise argparse.ArgumentTypeError(
            f"{text} is a file, and this takes the name of a model; `runnerd import {text}` makes"
            " one of a file"
        )
    return text
