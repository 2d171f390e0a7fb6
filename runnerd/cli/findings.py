"""What `runnerd doctor` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `state` is ok, warning or missing, `remedy` what to do."""

    what: str
    state: str
    detail: str
    remedy: str = ""
