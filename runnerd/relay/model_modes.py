"""The modes that models can be run in, and the one that an operation takes."""

from __future__ import annotations

from functools import lru_cache

from runnerd.backends.configuration import BackendMode
from runnerd.errors import ClientError
from runnerd.relay.operations import Operation


@lru_cache(maxsize=64)
def modes(capabilities: tuple[str, ...]) -> tuple[BackendMode, ...]:
    """The modes that a model of these capabilities can be run in, its own purpose first."""
    found = [mode for mode in BackendMode if mode.value in capabilities]
    if BackendMode.COMPLETION in found and BackendMode.EMBEDDING not in found:
        found.append(BackendMode.EMBEDDING)  # the engine embeds with any model that it can run
    return tuple(found)


def mode_for(
    operation: Operation, possible: tuple[BackendMode, ...], reference: str
) -> BackendMode:
    """The mode to run the model in.  Raises errors.ClientError where it cannot do the operation."""
    if operation.mode is None:
        return possible[0] if possible else BackendMode.COMPLETION
    if operation.mode not in possible:
        able = ", ".join(mode.value for mode in possible) or "nothing"
        raise ClientError(
            f"model {reference!r} does not support {operation.name} (it is for: {able})",
            param="model",
        )
    return operation.mode
