"""All modules of Pantry's API that have routes."""

from __future__ import annotations

from runnerd.api.pantry import (
    activating,
    asking,
    bare,
    downloading,
    registering,
    sessions,
    statuses,
)

MODULES = (registering, asking, statuses, activating, downloading, bare, sessions)
