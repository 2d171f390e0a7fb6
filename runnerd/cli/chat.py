"""`runnerd run`: one question, or a conversation."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runnerd import sse
from runnerd.cli.client import Client
from runnerd.cli.history import line_history
from runnerd.errors import ClientError, RunnerdError

_HELP = """\
/bye           leave (also Ctrl-D)
/clear         forget the conversation
/system TEXT   say who the model is; without TEXT, nobody in particular
/help          this
\"\"\"            begins and ends a text of several lines
Ctrl-C         stops a response"""
_FENCE = '"""'
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass
class Conversation:
    """What has been said, and to whom.  A turn that fails or is stopped is not part of it."""

    client: Client
    settings: dict[str, object]  # model and sampling, as the API names them
    system: str | None = None
    turns: list[dict[str, str]] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Ask, and print the response as it comes.  Raises RunnerdError, KeyboardInterrupt."""
        asked = [*self.turns, {"role": "user", "content": text}]
        first = [{"role": "system", "content": self.system}] if self.system else []
        document = {**self.settings, "messages": [*first, *asked], "stream": True}
        response = "".join(_printed(_pieces(self.client, document)))
        self.turns = [*asked, {"role": "assistant", "content": response}]


def run(options: argparse.Namespace) -> int:
    """Answer the prompt, standard input, or whatever is typed until Ctrl-D."""
    settings = {"model": options.model}
    for name in ("temperature", "max_tokens", "seed"):
        if (value := getattr(options, name)) is not None:
            settings[name] = value
    conversation = Conversation(Client(options.host), settings, options.system)
    prompt = options.prompt
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None:
        if not prompt.strip():
            raise ClientError("there is nothing to ask: give a prompt or pipe one in")
        conversation.say(prompt)
        return 0
    _load(conversation)
    return _converse(conversation)


def _load(conversation: Conversation) -> None:
    """Load the model now; a wrong name is told before anything is typed."""
    document = {**conversation.settings, "messages": []}
    headers = {"X-Preload-Only": "true"}
    path = "/v1/chat/completions"
    with conversation.client.open("POST", path, document, headers=headers) as response:
        response.read()


def _converse(conversation: Conversation) -> int:
    print("/help shows the commands, Ctrl-D leaves")
    with line_history():
        for text in _typed():
            try:
                if text.startswith("/"):
                    if not _command(conversation, text):
                        break
                else:
                    conversation.say(text)
            except KeyboardInterrupt:
                print()
            except RunnerdError as error:
                print(f"runnerd: {error.message}", file=sys.stderr)
    return 0


def _typed() -> Iterator[str]:
    """Yield what is typed, until the end of the input; Ctrl-C drops the line."""
    while True:
        try:
            text = input(">>> ").strip()
            if text.startswith(_FENCE):
                text = _several_lines(text.removeprefix(_FENCE))
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if text:
            yield text


def _several_lines(text: str) -> str:
    while not text.endswith(_FENCE):
        text += "\n" + input("... ")
    return text.removesuffix(_FENCE).strip()


def _command(conversation: Conversation, text: str) -> bool:
    """Carry out a command; False leaves."""
    name, _, argument = text.partition(" ")
    match name:
        case "/bye" | "/exit" | "/quit":
            return False
        case "/clear":
            conversation.turns = []
        case "/system":
            conversation.system = argument.strip() or None
        case "/help" | "/?":
            print(_HELP)
        case _:
            print(f"no such command: {name}; /help shows them")
    return True


def _pieces(client: Client, document: object) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) as the model answers; `kind` is reasoning or content."""
    finished = False
    with client.open("POST", "/v1/chat/completions", document) as response:
        for event in _events(response):
            if event.data == b"[DONE]":
                finished = True
                break
            if event.data:
                yield from _of_event(json.loads(event.data))
    if not finished:
        raise RunnerdError("the answer broke off")


def _events(response: http.client.HTTPResponse) -> Iterator[sse.Event]:
    """Yield the events of a response as they come."""
    splitter = sse.EventSplitter()
    while data := response.read1():
        yield from map(sse.parse, splitter.feed(data))


def _of_event(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "error" in event:
        raise RunnerdError(str(event["error"].get("message", "the answer broke off")))
    for choice in event.get("choices", []):
        delta = choice.get("delta", {})
        if reasoning := delta.get("reasoning_content"):
            yield "reasoning", reasoning
        if content := delta.get("content"):
            yield "content", content


def _printed(pieces: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Print pieces as they come, reasoning dim and only on a terminal; yield the content."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    dim = False
    try:
        for kind, text in pieces:
            if kind == "reasoning" and not sys.stdout.isatty():
                continue
            if colours and dim != (kind == "reasoning"):
                dim = not dim
                print(_DIM if dim else _PLAIN + "\n", end="")
            print(text, end="", flush=True)
            if kind == "content":
                yield text
    finally:
        print(_PLAIN if dim else "")
