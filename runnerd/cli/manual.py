"""The manual pages, made of the arguments: `runnerd man`, and `runnerd man --into DIR` for all."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import runnerd
from runnerd.cli.arguments import make_parser
from runnerd.errors import ClientError, NotFound

EXIT_STATUSES = (
    ("0", "Everything was done."),
    ("1", "It was not done, or not all of it; standard error says why."),
    ("2", "The command was typed wrong; nothing was done."),
    ("130", "Ctrl-C ended it. What the daemon has begun, such as a pull, goes on."),
)
ENVIRONMENT = (
    ("RUNNERD_HOST", "The daemon: unix:///path, http(s)://host:port or host:port."),
    ("RUNNERD_KEY", "The key of whoever asks; an argument would show it to everybody."),
    ("RUNNERD_CONFIG", "The daemon's settings file (TOML)."),
    ("RUNNERD_<SETTING>", "Any setting of the daemon."),
    ("RUNNERD_NOHISTORY", "If set, `runnerd run` keeps no history of what is typed."),
    ("HF_TOKEN", "The token for pulls from Hugging Face."),
    ("NO_COLOR", "If set, nothing is coloured and nothing moves."),
)


def man(options: argparse.Namespace) -> int:
    """Print one page, or write all of them into a folder."""
    pages = dict(pages_of(make_parser()))
    if options.into:
        folder = Path(options.into)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in pages.items():
                (folder / f"{name}.1").write_text(text, "utf-8")
        except OSError as error:
            raise ClientError(f"{error.filename} cannot be written: {error.strerror}") from error
        print(f"{len(pages)} pages are in {folder}")
        return 0
    name = "-".join(("runnerd", *options.command))
    if name not in pages:
        raise NotFound(f"there is no command {' '.join(options.command)}; `runnerd --help`")
    print(pages[name], end="")
    return 0


def pages_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Every page by its name: of the program, of its commands, and of theirs."""
    name = parser.prog.replace(" ", "-")
    below = _below(parser)
    yield name, _page(parser, name, below)
    for command in below.values():
        yield from pages_of(command)


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _page(
    parser: argparse.ArgumentParser, name: str, below: dict[str, argparse.ArgumentParser]
) -> str:
    description = parser.description or ""
    lines = [
        f'.TH "{name.upper()}" 1 "{_today()}" "runnerd {runnerd.__version__}" "runnerd"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(description)}",
        ".SH SYNOPSIS",
        f".B {_text(' '.join(parser.format_usage().removeprefix('usage: ').split()))}",
    ]
    if below:
        lines.append(".SH COMMANDS")
        for word, command in below.items():
            lines += _item(f"{parser.prog} {word}", command.description or "")
    lines += _arguments(parser)
    if parser.epilog:
        lines += [".SH NOTES", ".nf", _text(parser.epilog), ".fi"]
    lines.append(".SH EXIT STATUS")
    for status, meaning in EXIT_STATUSES:
        lines += _item(status, meaning)
    if name == "runnerd":
        lines.append(".SH ENVIRONMENT")
        for variable, meaning in ENVIRONMENT:
            lines += _item(variable, meaning)
    return "\n".join(lines) + "\n"


def _today() -> str:
    """When the pages were made; whoever packs them says by SOURCE_DATE_EPOCH when that was."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%d", time.gmtime(int(said) if said.isdecimal() else None))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [a for a in parser._actions if not isinstance(a, argparse._SubParsersAction)]
    yield ".SH OPTIONS"
    for action in actions:
        value = action.metavar or (action.dest if action.nargs != 0 else "")
        if not isinstance(value, str):
            value = " ".join(value)
        if action.choices is not None and action.metavar is None:
            value = "|".join(str(choice) for choice in action.choices)
        term = ", ".join(action.option_strings)
        term = f"{term} {value}" if term and action.nargs != 0 else term or value.upper()
        yield from _item(term, (action.help or "") % {"prog": parser.prog})


def _item(term: str, text: str) -> list[str]:
    return [".TP", f".B {_text(term)}", _text(text) or "\\&"]


def _text(text: str) -> str:
    """Text as roff takes it: nothing in it is a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(
        f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.split("\n")
    )
