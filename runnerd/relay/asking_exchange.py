"""What a call to an engine tells the exchange whose request it carries."""

from __future__ import annotations

from typing import Protocol

from runnerd.errors import RunnerdError
from runnerd.relay.background import Steps


class AskingExchange(Protocol):
    """Whose request it is.  It is told one of the last five, once, and then closes the call."""

    def go_on(self, steps: Steps) -> None:
        """Take steps in a task."""
        ...

    def completed(self) -> None:
        """The sink has all pieces of the response."""
        ...

    def respond(self, body: bytes, content_type: bytes) -> None:
        """This is the whole response."""
        ...

    def fail(self, error: RunnerdError) -> None:
        """There will be no response, or no more of it."""
        ...

    def unreached(self, error: OSError) -> None:
        """Nothing was sent, nobody listens."""
        ...

    def hung_up(self, reason: str) -> None:
        """The engine has ended the connection, perhaps because it has ended itself."""
        ...
