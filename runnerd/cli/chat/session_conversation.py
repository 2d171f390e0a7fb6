"""`runnerd run --session NAME`: a conversation that the daemon keeps and goes on with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from runnerd.cli import sessions
from runnerd.cli.chat.attachments import Prompt
from runnerd.cli.chat.conversation import Conversation
from runnerd.cli.chat.printing import printed
from runnerd.cli.chat.response_events import Piece, StreamedChat
from runnerd.cli.tables import familiar
from runnerd.errors import ClientError


@dataclass
class SessionConversation(Conversation):
    """A conversation whose turns are in the session `name`, which is begun where there is none."""

    name: str = ""

    def say(self, prompt: Prompt) -> None:
        """Ask, and print the response as it comes.  Raises RunnerdError, KeyboardInterrupt."""
        more = {"system": self.system} if self.system else {}
        session = sessions.begin(self.client, self.name, self.model, **more)
        if familiar(session["model"]) != familiar(self.model):
            print(f"runnerd: this session stays with {familiar(session['model'])}", file=sys.stderr)
            self.model = session["model"]
        path = f"{sessions.PATH}/{session['id']}"
        said: dict[str, object] = {"prompt": prompt.content(), "parameters": self.parameters}
        printed(_SessionChat(self.client, said, path=path), verbose=self.verbose)

    def forget(self) -> None:
        """Refuse: what was said is the session's."""
        raise ClientError(
            f"a session keeps what was said; `runnerd session rm {self.name}` removes it"
        )


@dataclass
class _SessionChat(StreamedChat):
    """One response in a session."""

    path: str = ""

    def pieces(self) -> Iterator[Piece]:
        """Ask, and yield the text as it comes.  Raises RunnerdError."""
        for kind, told in sessions.events(self.client, self.path, self.document):
            if kind == "end":
                if told["turn"] is not None:
                    self.usage = told["turn"]["usage"]
                continue
            if told.get("reasoning"):
                yield Piece(told["reasoning"], reasoning=True)
            if told["text"]:
                yield Piece(told["text"])
