"""What Pantry's registry says of an LLM: names, license, capabilities, parameters, and its address.

The JSON names are Pantry's; it asks for all fields, its documentation for two.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from runnerd.errors import ClientError

MOST_BYTES = 64 * 2**10
"""Of one entry as JSON."""

CAPABILITIES = ("general", "assistant", "writing", "coding")
"""Pantry's clients cannot read a status with any other capability."""
NOT_CAPABLE, NOT_EVALUATED = 0, -1

Capability = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]  # Pantry's clients read 32 bits
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ConnectorType(enum.Enum):
    """How Pantry reaches a model; here it is always an engine of this host's."""

    GENERIC_API = "genericapi"
    LLMRS = "llmrs"
    OPENAI = "openai"

    @property
    def shown(self) -> str:
        """As a status has it."""
        return _SHOWN[self]


_SHOWN = {
    ConnectorType.GENERIC_API: "GenericAPI",
    ConnectorType.LLMRS: "LLMrs",
    ConnectorType.OPENAI: "OpenAI",
}


class LLMRegistryEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry.  Of `parameters` and `session_parameters`, which are defaults, clients may set
    those that `user_parameters` and `user_session_parameters` name.
    """

    id: Name
    family_id: str = ""
    organization: str = ""
    name: str = ""
    license: str = ""
    description: str = ""
    homepage: str = ""
    capabilities: dict[str, Capability] = {}
    tags: list[str] = []
    requirements: str = ""
    backend_uuid: str = ""
    url: str = ""
    config: dict[str, Any] = {}
    local: bool = True
    connector_type: ConnectorType
    parameters: dict[str, Any] = {}
    user_parameters: list[str] = []
    session_parameters: dict[str, Any] = {}
    user_session_parameters: list[str] = []

    def is_same(self, other: LLMRegistryEntry) -> bool:
        """Whether two entries are for one LLM, as Pantry compares them: what only describes it may
        differ.
        """
        return _identity(self) == _identity(other)


def _identity(entry: LLMRegistryEntry) -> tuple[object, ...]:
    return (
        entry.id,
        entry.family_id,
        entry.url,
        entry.local,
        entry.connector_type,
        entry.config,
        entry.parameters,
        entry.session_parameters,
        set(entry.user_parameters),
        set(entry.user_session_parameters),
    )


def parse_entry(document: bytes | str) -> LLMRegistryEntry:
    """Read an entry from JSON.  Raises errors.ClientError."""
    data = document.encode() if isinstance(document, str) else document
    if len(data) > MOST_BYTES:
        raise too_large()
    try:
        return msgspec.json.decode(data, type=LLMRegistryEntry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ClientError(f"not a registry entry: {error}") from error


def check_size(entry: LLMRegistryEntry) -> None:
    """Hold an entry that was read as a part of something larger to what one may have by itself.

    Raises errors.ClientError.
    """
    if len(encoded(entry).encode()) > MOST_BYTES:
        raise too_large()


def too_large() -> ClientError:
    """The error for an entry that has more than it may."""
    return ClientError(f"a registry entry has at most {MOST_BYTES} bytes")


def encoded(entry: LLMRegistryEntry) -> str:
    """An entry as JSON text."""
    return msgspec.json.encode(entry).decode()


def changed(entry: LLMRegistryEntry, changes: Mapping[str, Any]) -> LLMRegistryEntry:
    """An entry with other values of some fields, by their JSON names.  Raises errors.ClientError
    for a field that there is not, and for a value of the wrong type.
    """
    document = msgspec.to_builtins(entry)
    unknown = sorted(set(changes) - set(document))
    if unknown:
        raise ClientError(
            f"a registry entry has no field {unknown[0][:100]!r}; it has {', '.join(document)}",
            param=unknown[0][:100],
        )
    return parse_entry(msgspec.json.encode(document | dict(changes)))
