"""Pantry's requests and responses, with exactly its names.

Its client ignores what it does not know and cannot read a response that lacks anything.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.access import Permission
from runnerd.llms.entry import LLMRegistryEntry
from runnerd.llms.flexible_choice import LLMFilter, LLMPreference

# requests


class Credentials(msgspec.Struct, kw_only=True):
    """What each request but a registration has."""

    user_id: str | None = None
    api_key: str | None = None


class RegisterUser(msgspec.Struct, kw_only=True):
    user_name: str


class UserPermissions(msgspec.Struct, kw_only=True):
    """Pantry's ten; all of them have to be said."""

    perm_superuser: bool
    perm_load_llm: bool
    perm_unload_llm: bool
    perm_download_llm: bool
    perm_session: bool
    perm_request_download: bool
    perm_request_load: bool
    perm_request_unload: bool
    perm_view_llms: bool
    perm_bare_model: bool

    @classmethod
    def of(cls, permissions: frozenset[Permission]) -> UserPermissions:
        """These permissions, and none of the others."""
        return cls(**{f"perm_{each}": each in permissions for each in Permission})

    @property
    def permissions(self) -> frozenset[Permission]:
        """Those that are set."""
        return frozenset(each for each in Permission if getattr(self, f"perm_{each}"))


class RequestPermissions(msgspec.Struct, kw_only=True):
    requested_permissions: UserPermissions


class EntryRequest(msgspec.Struct, kw_only=True):
    """Its client sends the entry as an object, or as the JSON of one in a string."""

    llm_registry_entry: LLMRegistryEntry | str


class LLMRequest(msgspec.Struct, kw_only=True):
    llm_id: str


class FlexRequest(msgspec.Struct, kw_only=True):
    filter: LLMFilter | None = None
    preference: LLMPreference | None = None


class LoadRequest(FlexRequest, kw_only=True):
    """One LLM, or the best that passes: its client sends both to one address."""

    llm_id: str | None = None


class StatusRequest(msgspec.Struct, kw_only=True):
    request_id: str


class CreateSession(msgspec.Struct, kw_only=True):
    user_session_parameters: dict[str, Any]


class CreateSessionId(CreateSession, kw_only=True):
    llm_id: str


class CreateSessionFlex(FlexRequest, kw_only=True):
    user_session_parameters: dict[str, Any]


class SessionRequest(msgspec.Struct, kw_only=True):
    """Here, and only here, an LLM's UUID is called so."""

    session_id: str
    llm_uuid: str


class PromptSession(SessionRequest, kw_only=True):
    prompt: str
    parameters: dict[str, Any]


# responses


class UserInfo(UserPermissions, kw_only=True):
    id: str
    name: str
    api_key: str


class LLMStatus(msgspec.Struct, kw_only=True):
    """`download_progress` is in per cent."""

    id: str
    family_id: str
    organization: str
    name: str
    homepage: str
    license: str
    description: str
    capabilities: dict[str, int]
    requirements: str
    tags: list[str]
    url: str
    local: bool
    connector_type: str
    download_progress: float
    config: dict[str, Any]
    parameters: dict[str, Any]
    user_parameters: list[str]
    session_parameters: dict[str, Any]
    user_session_parameters: list[str]
    uuid: str
    running: bool


class LLMRunningStatus(msgspec.Struct, kw_only=True):
    llm_info: LLMStatus
    uuid: str


class CreateSessionResponse(msgspec.Struct, kw_only=True):
    session_parameters: dict[str, Any]
    llm_status: LLMStatus
    session_id: str


class BareModelResponse(msgspec.Struct, kw_only=True):
    model: LLMStatus
    path: str


class UserRequest(msgspec.Struct, kw_only=True):
    """`UserRequestStatus`, and two more."""

    id: str
    user_id: str
    timestamp: str
    request: dict[str, Any]
    accepted: bool
    complete: bool
    reason: str
    originator: str
