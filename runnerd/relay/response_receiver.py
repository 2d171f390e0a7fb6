"""Who gets an engine's response, and what is said of one that will not be completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runnerd.relay.response_parser import ResponseHead


class ResponseReceiver(Protocol):
    """Who gets the engine's response.  Nothing comes after `engine_done` or `engine_lost`."""

    __slots__ = ()

    def engine_head(self, head: ResponseHead) -> bool:
        """Take the head; return whether a chunked body is wanted as it is, with its framing."""
        ...

    def engine_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        ...

    def engine_done(self) -> None:
        """The response is complete."""
        ...

    def engine_lost(self, loss: Loss) -> None:
        """The response will not be completed."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a response will not be completed.

    `hung_up`: the engine ended the connection, perhaps because it has ended itself; `unseen`: it
    cannot have begun with the request; `whole_chunks`: what was passed on of a body ends where a
    chunk ends.
    """

    reason: str
    hung_up: bool = False
    unseen: bool = False
    whole_chunks: bool = True
