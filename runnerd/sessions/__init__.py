"""Conversations that stay: who has said what to which model, kept until it expires.

A *session* belongs to a principal and is bound to a model.  It consists of *turns*: a prompt and
its response, written down in one transaction before whoever asked is told that it is complete.
"""

from runnerd.sessions.prompts import Delta
from runnerd.sessions.session import NewSession, Prompt, Session, SessionKind, Turn, TurnState
from runnerd.sessions.sessions import Ended, Sessions, build, build_kept

__all__ = [
    "Delta",
    "Ended",
    "NewSession",
    "Prompt",
    "Session",
    "SessionKind",
    "Sessions",
    "Turn",
    "TurnState",
    "build",
    "build_kept",
]
