"""What can be allowed to a user.

The names and meanings are Pantry's ten.  Which action of a route takes which permission is one
table, here as well.
"""

from __future__ import annotations

import enum


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
    BARE_MODEL = "bare_model"  # a model's file itself
