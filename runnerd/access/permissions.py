"""What can be allowed to a user.

The names and meanings are Pantry's ten.  Which action of a route takes which permission is one
table, here as well.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from runnerd.access.actions import Action


class Permission(enum.StrEnum):
    """One thing that an owner can allow a user."""

    SUPERUSER = "superuser"  # everything that the owner may
    LOAD_LLM = "load_llm"
    UNLOAD_LLM = "unload_llm"
    DOWNLOAD_LLM = "download_llm"
    SESSION = "session"  # using models: completions, embeddings, sessions
    REQUEST_DOWNLOAD = "request_download"  # these three ask the owner, who approves or rejects
    REQUEST_LOAD = "request_load"
    REQUEST_UNLOAD = "request_unload"
    VIEW_LLMS = "view_llms"
    BARE_MODEL = "bare_model"  # the engine of a model itself, or its files, past the relay


MEANINGS: Mapping[Permission, str] = {
    Permission.SESSION: "use models",
    Permission.VIEW_LLMS: "see models and what is loaded",
    Permission.LOAD_LLM: "load models",
    Permission.UNLOAD_LLM: "unload models",
    Permission.DOWNLOAD_LLM: "pull models",
    Permission.REQUEST_DOWNLOAD: "ask for downloads",
    Permission.REQUEST_LOAD: "ask for loads",
    Permission.REQUEST_UNLOAD: "ask for unloads",
    Permission.BARE_MODEL: "use engines themselves",
    Permission.SUPERUSER: "everything",
}
"""What each permission lets a user do, in words that the page shows; the usual ones first."""

_OWNERS = Permission.SUPERUSER

NEEDED: Mapping[Action, Permission | None] = {
    Action.PUBLIC: None,
    Action.USE_ACCOUNT: None,
    Action.REGISTER: None,
    Action.BARE_MODEL: Permission.BARE_MODEL,
    Action.USE_MODEL: Permission.SESSION,
    Action.USE_RESPONSES: Permission.SESSION,
    Action.USE_SESSIONS: Permission.SESSION,
    Action.USE_JOBS: Permission.SESSION,
    Action.VIEW_REQUESTS: Permission.SESSION,
    Action.CANCEL_REQUEST: Permission.SESSION,
    Action.VIEW_CONTENT: Permission.SESSION,
    Action.VIEW_MODELS: Permission.VIEW_LLMS,
    Action.VIEW_RUNNERS: Permission.VIEW_LLMS,
    Action.VIEW_METRICS: Permission.VIEW_LLMS,
    Action.LOAD_MODEL: Permission.LOAD_LLM,
    Action.UNLOAD_MODEL: Permission.UNLOAD_LLM,
    Action.DOWNLOAD_MODEL: Permission.DOWNLOAD_LLM,
    Action.USE_ENGINE: Permission.BARE_MODEL,
    Action.REQUEST_DOWNLOAD: Permission.REQUEST_DOWNLOAD,
    Action.REQUEST_LOAD: Permission.REQUEST_LOAD,
    Action.REQUEST_UNLOAD: Permission.REQUEST_UNLOAD,
    Action.VIEW_LOGS: _OWNERS,
    Action.CONFIGURE_MODEL: _OWNERS,
    Action.UPLOAD_MODEL: _OWNERS,
    Action.EXPORT_MODEL: _OWNERS,
    Action.CREATE_MODEL: _OWNERS,
    Action.DELETE_MODEL: _OWNERS,
    Action.MANAGE_BACKENDS: _OWNERS,
    Action.MANAGE_USERS: _OWNERS,
    Action.MANAGE_APPROVALS: _OWNERS,
    Action.MANAGE_DATABASE: _OWNERS,
    Action.VIEW_USAGE: _OWNERS,
    Action.VIEW_AUDIT: _OWNERS,
}
"""The permission that each action takes; None: whoever is let in at all, and what is FOR_ANYBODY
takes not even that.  Of requests, responses, sessions and their content everybody sees their own.
"""

FOR_ANYBODY = frozenset({Action.PUBLIC, Action.REGISTER})
"""What nobody has to be let in for."""

WITHOUT_A_KEY = frozenset({Permission.SESSION, Permission.VIEW_LLMS})
"""What a listener that lets somebody in without a key lets them do: use models, and see them."""
