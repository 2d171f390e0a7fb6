"""What could be typed next: the one list that every shell's completion asks for.

The shells' own scripts are a few lines that call `runnerd complete -- WORDS`, so that what they
offer is what `arguments` knows at that moment, and the models are those that are here.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence

from runnerd.cli.arguments import make_parser
from runnerd.cli.client import Client
from runnerd.cli.command_parser import model_name
from runnerd.cli.tables import familiar
from runnerd.errors import RunnerdError

FILES = ":files"
"""Instead of a word: names of files go here."""

_FILES = ("FILE", "DIR", "PATH")

_BASH = """\
_runnerd() {
    # Of the line, not COMP_WORDS: bash breaks words at colons, and names of models have some.
    local word line="${COMP_LINE:0:COMP_POINT}" before=""
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    [[ $COMP_WORDBREAKS == *:* ]] && before="${word%"${word##*:}"}"
    COMPREPLY=()
    while IFS= read -r word; do
        if [ "$word" = ":files" ]; then
            compopt -o default
        else
            COMPREPLY+=("${word#"$before"}")
        fi
    done < <(runnerd complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _runnerd runnerd
"""
_ZSH = """\
#compdef runnerd
_runnerd() {
    local word
    local -a found
    while IFS= read -r word; do
        if [ "$word" = ":files" ]; then _files; else found+=("$word"); fi
    done < <(runnerd complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    compadd -a found
}
if [ "$funcstack[1]" = "_runnerd" ]; then _runnerd "$@"; else compdef _runnerd runnerd; fi
"""
_FISH = """\
function __runnerd_complete
    set -l words (commandline -opc)[2..-1]
    for word in (runnerd complete -- $words (commandline -ct) 2>/dev/null)
        if test "$word" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $word
        end
    end
end
complete -c runnerd -f -a '(__runnerd_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(options: argparse.Namespace) -> int:
    """Print a shell's script."""
    print(_SCRIPTS[options.shell], end="")
    return 0


def complete(options: argparse.Namespace) -> int:
    """Print what the last of the words could become, one a line."""
    for word in candidates(make_parser(), options.flags, lambda: _models(options.host)):
        print(word)
    return 0


def candidates(
    parser: argparse.ArgumentParser, words: Sequence[str], models: Callable[[], list[str]]
) -> list[str]:
    """What the last word could become, after the words before it."""
    *before, current = words or [""]
    command, expects, place = _walk(parser, before)
    if expects is None and current.startswith("-"):
        return [name for name in _options(command) if name.startswith(current)]
    wanted = expects or _positional(command, place)
    if wanted is None:
        return []
    return [word for word in _values(wanted, models) if word == FILES or word.startswith(current)]


def _walk(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.ArgumentParser, argparse.Action | None, int]:
    """The command that is typed, the option that waits for a value, and how many arguments came."""
    expects: argparse.Action | None = None
    place = 0
    for word in words:
        if expects is not None:
            expects = None
        elif word.startswith("-"):
            expects = _taking(parser, word)
        elif (below := _commands(parser)) and word in below:
            parser, place = below[word], 0
        else:
            place += 1
    return parser, expects, place


def _taking(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """The option that a word names, if it takes a value that is not joined to it."""
    if "=" in word:
        return None
    for action in parser._actions:
        if word in action.option_strings and action.nargs != 0:
            return action
    return None


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [name for a in parser._actions for name in a.option_strings if name.startswith("--")]


def _positional(parser: argparse.ArgumentParser, place: int) -> argparse.Action | None:
    """The argument at a place; the last one goes on where it may be repeated."""
    found = [action for action in parser._actions if not action.option_strings]
    if place < len(found):
        return found[place]
    return found[-1] if found and found[-1].nargs in ("*", "+") else None


def _values(action: argparse.Action, models: Callable[[], list[str]]) -> list[str]:
    if isinstance(action, argparse._SubParsersAction):
        return [choice.dest for choice in action._choices_actions]
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if action.type is model_name:
        return models()
    is_file = action.dest in ("path", "file") or action.metavar in _FILES
    return [FILES] if is_file else []


def _models(host: str | None) -> list[str]:
    """The names of the models that are here; none where no daemon answers."""
    with contextlib.suppress(RunnerdError):
        models = Client(host).json("GET", "/models")
        return sorted(familiar(tag) for model in models for tag in model.get("tags", []))
    return []
