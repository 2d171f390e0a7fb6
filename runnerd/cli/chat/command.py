"""`runnerd run MODEL [PROMPT]`: answers a prompt, standard input, or whoever types."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from runnerd.cli.chat.attachments import Prompt, joined, prompt_of, prompt_of_data
from runnerd.cli.chat.conversation import Conversation
from runnerd.cli.chat.model_on_daemon import parse_keep_alive, release, see_to
from runnerd.cli.chat.sampling import reasoning, response_format
from runnerd.cli.chat.slash_commands import COMMANDS, Leave, carry_out
from runnerd.cli.client import Client
from runnerd.errors import ClientError, RunnerdError


def run(options: argparse.Namespace) -> int:
    """Answer the prompt and what is piped in, or whatever is typed until Ctrl-D."""
    conversation = _conversation(options)
    if options.keep_alive is not None:
        parse_keep_alive(options.keep_alive)  # what is wrong is told before anything is loaded
    prompt = _prompt(options.prompt)
    see_to(conversation.client, options)
    if prompt is not None:
        conversation.say(prompt)
    else:
        _converse(conversation)
    release(conversation.client, conversation.model, options.keep_alive)
    return 0


def _conversation(options: argparse.Namespace) -> Conversation:
    conversation = Conversation(
        Client(options.host),
        options.model,
        parameters=_parameters(options),
        system=options.system,
        verbose=options.verbose,
    )
    if not options.session:
        return conversation
    from runnerd.cli.chat.session_conversation import SessionConversation

    return SessionConversation(**vars(conversation), name=options.session)


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    found: dict[str, object] = {
        name: value
        for name in ("temperature", "max_tokens", "seed")
        if (value := getattr(options, name)) is not None
    }
    if options.format:
        found["response_format"] = response_format(options.format)
    if options.think:
        found |= reasoning(options.think)
    return found


def _prompt(words: list[str]) -> Prompt | None:
    """What is asked: what is piped in and the arguments; None where somebody types.

    Raises errors.ClientError where there is nothing to ask.
    """
    typed = prompt_of(" ".join(words))
    if sys.stdin is not None and sys.stdin.isatty():
        prompt = typed
        if not words:
            return None
    else:
        prompt = joined(prompt_of_data(_piped()), typed)
    if not prompt.text and not prompt.parts:
        raise ClientError("there is nothing to ask: give a prompt or pipe one in")
    return prompt


def _piped() -> bytes:
    """All of standard input; nothing where there is none, as for some services."""
    if sys.stdin is None:
        return b""
    return sys.stdin.buffer.read()


def _converse(conversation: Conversation) -> None:
    print("/help shows the commands, Ctrl-D leaves")
    for text in _typed():
        try:
            if not (text.startswith("/") and carry_out(conversation, text)):
                conversation.say(prompt_of(text))
        except Leave:
            return
        except KeyboardInterrupt:
            print()
        except RunnerdError as error:
            print(f"runnerd: {error.message}", file=sys.stderr)


def _typed() -> Iterable[str]:
    if not os.isatty(sys.stdout.fileno()):  # questions at a terminal, responses in a file
        return _plain_lines()
    from runnerd.cli.chat.typed_lines import typed_lines

    return typed_lines(COMMANDS)


def _plain_lines() -> Iterable[str]:
    """Lines without an editor, which would write its own signs into the file."""
    for line in sys.stdin:
        if text := line.strip():
            yield text
