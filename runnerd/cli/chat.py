"""`runnerd run`: one question, or a conversation."""

from __future__ import annotations

import argparse
import json
import sys

from runnerd.cli.client import Client
from runnerd.errors import RunnerdError


def run(options: argparse.Namespace) -> int:
    """Answer the prompt, standard input, or whatever is typed until Ctrl-D."""
    client = Client(options.host)
    messages: list[dict[str, str]] = []
    if options.system:
        messages.append({"role": "system", "content": options.system})
    prompt = options.prompt
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None:
        _ask(client, options, [*messages, {"role": "user", "content": prompt}])
        return 0
    return _converse(client, options, messages)


def _converse(client: Client, options: argparse.Namespace, messages: list[dict[str, str]]) -> int:
    import readline  # noqa: F401 - gives input() its line editing and history

    start = list(messages)
    print("/bye leaves, /clear forgets the conversation, Ctrl-C stops an answer")
    while True:
        try:
            text = input(">>> ").strip()
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print()
            continue
        if text == "/bye":
            return 0
        if text == "/clear":
            messages = list(start)
        elif text:
            asked = [*messages, {"role": "user", "content": text}]
            try:
                answer = _ask(client, options, asked)
                messages = [*asked, {"role": "assistant", "content": answer}]
            except KeyboardInterrupt:
                print()
            except RunnerdError as error:
                print(f"runnerd: {error.message}", file=sys.stderr)


def _ask(client: Client, options: argparse.Namespace, messages: list[dict[str, str]]) -> str:
    """Print the answer as it comes and return it."""
    document: dict[str, object] = {"model": options.model, "messages": messages, "stream": True}
    if options.temperature is not None:
        document["temperature"] = options.temperature
    if options.max_tokens is not None:
        document["max_tokens"] = options.max_tokens
    answer = ""
    for line in client.lines("POST", "/v1/chat/completions", document):
        if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
            continue
        event = json.loads(line[6:])
        if "error" in event:
            print()
            raise RunnerdError(event["error"]["message"])
        for choice in event["choices"]:
            piece = choice["delta"].get("content") or ""
            answer += piece
            print(piece, end="", flush=True)
    print()
    return answer
