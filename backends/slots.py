"""Engines that can write down what they have evaluated, and read it again in their next life.

An ability that a backend may have beside the `Backend` contract.  What a *slot* of an engine holds
(a conversation, evaluated) goes to a file of a folder that the backend was constructed with; who
may keep how much there, and for whom, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from runnerd.backends.configuration import BackendConfiguration, BackendMode


class SlotMemory(NamedTuple):
    """What an engine has room for beside the conversations that it computes.

    `room_bytes` of RAM keep what leaves its slots; 0: nothing does, None: there is no end.  A token
    takes `token_bytes`.
    """

    room_bytes: int | None
    token_bytes: int


@runtime_checkable
class KeepsSlots(Protocol):
    """A backend whose engines can do that."""

    async def slot_fingerprint(
        self, model: str, mode: BackendMode, config: BackendConfiguration
    ) -> str | None:
        """What two engines share exactly if one can read what the other one wrote.

        None where it does not work: for this model, this configuration or this build.
        """
        ...

    async def slot_memory(
        self, model: str, mode: BackendMode, config: BackendConfiguration
    ) -> SlotMemory | None:
        """How much such an engine keeps; None where that is not known."""
        ...

    async def save_slots(
        self, socket: Path, model: str, names: Sequence[str], room_bytes: int
    ) -> list[str]:
        """Let the engine of a run on `socket` write its slots to files; return their names.

        Of `names` as many are used as there are slots that are worth it and fit into `room_bytes`.
        Raises errors.BackendFailure; names that were used may lie there all the same.
        """
        ...

    async def restore_slots(self, socket: Path, names: Sequence[str]) -> int:
        """Let the engine of a run on `socket` read files, each into a slot that is empty.

        Returns how many there was a slot for.  Raises errors.BackendFailure: a file is of no use,
        or the engine has ended.
        """
        ...

    async def save_conversation(
        self,
        socket: Path,
        model: str,
        request: bytes,
        response: str,
        name: str,
        room_bytes: int,
        *,
        forget: bool = False,
    ) -> bool:
        """Let the engine of a run on `socket` write what it has evaluated of a conversation,
        wherever it keeps that, to the file `name`, and then `forget` it.

        `request` is the body of the last request, as the engine got it, `response` the text of what
        it responded.  Returns whether it was worth it, fits into `room_bytes`, and nobody else came
        in between.  Raises errors.BackendFailure; the file may lie there all the same.
        """
        ...

    async def restore_conversation(
        self, socket: Path, name: str, restored: Sequence[int]
    ) -> int | None:
        """Let the engine of a run on `socket` read a file into a slot; return which.

        What lies in that slot is not lost, but for what was `restored` before: these slots are
        taken last.  None where all slots are in use.  Raises errors.BackendFailure as above.
        """
        ...
