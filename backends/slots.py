"""Engines that can write down what they have evaluated, and read it again in their next life.

An ability that a backend may have beside the `Backend` contract.  What a *slot* of an engine holds
(a conversation, evaluated) goes to a file of a folder that the backend was constructed with; who
may keep how much there, and for whom, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from runnerd.backends.configuration import BackendConfiguration, BackendMode


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
    ) -> bool:
        """Let the engine of a run on `socket` write what it has evaluated of a conversation,
        wherever it keeps that, to the file `name`.

        `request` is the body of the last request, as the engine got it, `response` the text of what
        it responded.  Returns whether it was worth it and fits into `room_bytes`.  Nobody may use
        the engine meanwhile.  Raises errors.BackendFailure; the file may lie there all the same.
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
