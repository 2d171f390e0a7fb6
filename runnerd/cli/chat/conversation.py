"""What has been said to a model, and what it is asked with."""

from __future__ import annotations

from dataclasses import dataclass, field

from runnerd.cli.chat.attachments import Prompt
from runnerd.cli.chat.printing import printed
from runnerd.cli.chat.response_events import StreamedChat
from runnerd.cli.client import Client

Turn = dict[str, object]


@dataclass
class Conversation:
    """A conversation with one model.  A turn that fails or is stopped is not part of it.

    `parameters` are members of the request under the names of OpenAI's API.
    """

    client: Client
    model: str
    parameters: dict[str, object] = field(default_factory=dict)
    system: str | None = None
    verbose: bool = False
    keep_history: bool = True
    turns: list[Turn] = field(default_factory=list)

    def say(self, prompt: Prompt) -> None:
        """Ask, and print the response as it comes.  Raises RunnerdError, KeyboardInterrupt."""
        asked = [*self.turns, {"role": "user", "content": prompt.content()}]
        first: list[Turn] = [{"role": "system", "content": self.system}] if self.system else []
        document: dict[str, object] = {
            **self.parameters,
            "model": self.model,
            "messages": [*first, *asked],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        response = printed(StreamedChat(self.client, document), verbose=self.verbose)
        if self.keep_history:
            self.turns = [*asked, {"role": "assistant", "content": response}]

    def forget(self) -> None:
        """Begin anew: what was said is not sent any more."""
        self.turns = []
