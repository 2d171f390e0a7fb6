"""The events of a prompt, as Pantry's client reads them: one `data:` line each, and no name.

The last one is always a PromptCompletion, or a PromptError that says what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import msgspec

from runnerd import sse
from runnerd.access.principals import user_id
from runnerd.api.context import encode, timestamp
from runnerd.api.pantry.bodies import NOBODYS_ID
from runnerd.errors import RunnerdError
from runnerd.sessions import Delta, Ended, Session


class PromptStream(msgspec.Struct, kw_only=True):
    """One prompt: `input` is what the model reads, `parameters` those that count."""

    session: dict[str, Any]
    llm_uuid: str
    input: str
    parameters: dict[str, Any]
    stream_id: str = msgspec.field(default_factory=lambda: str(uuid4()))
    began: float = msgspec.field(default_factory=time.time)

    async def events(self, answered: AsyncGenerator[Delta | Ended, None]) -> AsyncGenerator[bytes]:
        """The events of what is answered; closing them leaves."""
        text = ""
        try:
            async for each in answered:
                if isinstance(each, Delta):
                    yield self._event(
                        {"type": "PromptProgress", "previous": text, "next": each.text}
                    )
                    text += each.text
                else:
                    yield self._event({"type": "PromptCompletion", "previous": text})
        except RunnerdError as error:
            yield self._event({"type": "PromptError", "message": error.message})
        finally:
            await answered.aclose()

    def _event(self, event: dict[str, str]) -> bytes:
        return sse.encoded(
            encode(
                {
                    "stream_id": self.stream_id,
                    "timestamp": timestamp(time.time()),
                    "call_timestamp": timestamp(self.began),
                    "parameters": self.parameters,
                    "input": self.input,
                    "llm_uuid": self.llm_uuid,
                    "session": self.session,
                    "event": event,
                }
            )
        )


def session_status(session: Session) -> dict[str, Any]:
    """An LLMSessionStatus."""
    return {
        "id": session.id,
        "llm_uuid": session.details["llm_uuid"],
        "user_id": user_id(session.principal) or NOBODYS_ID,
        "started": timestamp(session.created),
        "last_called": timestamp(session.used),
        "session_parameters": session.details["session_parameters"],
    }
