"""What can be typed in a conversation beside questions: `/set`, `/show`, `/save` and the like.

A line that begins with `/` and names no command is text: the path of a picture, or a question
about `/etc/fstab`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable

from runnerd.cli.chat.conversation import Conversation
from runnerd.cli.chat.model_on_daemon import load, save, show
from runnerd.cli.chat.sampling import PARAMETERS, THINK, reasoning, response_format, set_parameter
from runnerd.cli.terminal import wrapped
from runnerd.errors import ClientError

_HELP = """\
/set               say what can be set; /set temperature 0.2 sets it
/show              the model and what is set; /show info|system|parameters|template|license
/system TEXT       say who the model is; without TEXT, nobody in particular
/save NAME         keep model, system text, settings and conversation as the model NAME
/load NAME         go on with another model, or with what was saved
/clear             forget the conversation
/bye               leave (also Ctrl-D)
/help              this
\"\"\"                begins and ends a text of several lines (so does Alt-Enter)
@FILE              a text file, an image or a sound; images and sounds go by their path, too
Ctrl-C             stops a response"""

_SETTABLE = """\
/set system TEXT           who the model is
/set think [HOW]           think before answering (true, low, medium, high); /set nothink
/set format json|SCHEMA    the form of responses; SCHEMA is JSON or a file; /set noformat
/set verbose               print how long responses take; /set quiet
/set history               send what was said before; /set nohistory
/set parameter NAME VALUE  (`parameter` may be left out):"""

Command = Callable[[Conversation, str], None]


class Leave(Exception):
    """Raised where whoever types wants to end the conversation."""


def carry_out(conversation: Conversation, text: str) -> bool:
    """Carry out a command; False for what is none.  Raises Leave, RunnerdError."""
    name, _, argument = text.partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        if name.startswith("/") and "/" not in name[1:]:
            near = difflib.get_close_matches(name, COMMANDS, 1, cutoff=0.75)
            there_is = f"{near[0]} is one" if near else "/help shows them"
            print(f"({name} is no command and is sent as text; {there_is})", file=sys.stderr)
        return False
    command(conversation, argument.strip())
    return True


def _set(conversation: Conversation, argument: str) -> None:
    name, _, value = argument.partition(" ")
    if not name:
        lines = [f"    {parameter:20}  {help}" for parameter, (_, _, help) in PARAMETERS.items()]
        print(wrapped("\n".join((_SETTABLE, *lines)), sys.stdout))
        return
    value = value.strip()
    if name in _SWITCHES:
        _SWITCHES[name](conversation, value)
        return
    if name == "parameter":
        name, _, value = value.partition(" ")
    if not value.strip():
        raise ClientError(
            f"say what {name or 'which parameter'} is to be; /set shows what there is"
        )
    print(set_parameter(conversation.parameters, name, value.strip()))


def _system(conversation: Conversation, argument: str) -> None:
    conversation.system = argument or None


def _think(conversation: Conversation, argument: str) -> None:
    if argument not in ("", *THINK):
        raise ClientError(f"/set think takes {', '.join(THINK)}")
    conversation.parameters |= reasoning(argument or "true")


def _no_think(conversation: Conversation, argument: str) -> None:
    conversation.parameters.pop("reasoning_effort", None)
    conversation.parameters |= reasoning("false")


def _format(conversation: Conversation, argument: str) -> None:
    if not argument:
        raise ClientError("/set format takes json, a JSON schema, or a file with one")
    conversation.parameters["response_format"] = response_format(argument)


def _no_format(conversation: Conversation, argument: str) -> None:
    conversation.parameters.pop("response_format", None)


def _verbose(conversation: Conversation, argument: str) -> None:
    conversation.verbose = True


def _quiet(conversation: Conversation, argument: str) -> None:
    conversation.verbose = False


def _history(conversation: Conversation, argument: str) -> None:
    conversation.keep_history = True


def _no_history(conversation: Conversation, argument: str) -> None:
    conversation.keep_history = False


def _clear(conversation: Conversation, argument: str) -> None:
    conversation.forget()


def _help(conversation: Conversation, argument: str) -> None:
    if argument.lstrip("/") == "set":
        _set(conversation, "")
    else:
        print(wrapped(_HELP, sys.stdout))


def _leave(conversation: Conversation, argument: str) -> None:
    raise Leave


_SWITCHES: dict[str, Command] = {
    "system": _system,
    "think": _think,
    "nothink": _no_think,
    "format": _format,
    "noformat": _no_format,
    "verbose": _verbose,
    "quiet": _quiet,
    "history": _history,
    "nohistory": _no_history,
}
COMMANDS: dict[str, Command] = {
    "/set": _set,
    "/show": show,
    "/system": _system,
    "/save": save,
    "/load": load,
    "/clear": _clear,
    "/help": _help,
    "/?": _help,
    "/bye": _leave,
    "/exit": _leave,
    "/quit": _leave,
}
