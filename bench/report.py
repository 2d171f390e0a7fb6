"""Prints figures as they come, each beside its bar."""

from __future__ import annotations

import os


class Report:
    """Prints lines of `what | seen | bar`, each at once; `situation` holds for all of them."""

    def __init__(self, situation: str = "") -> None:
        self._situation = situation

    def section(self, title: str) -> None:
        """Begin a section."""
        where = f", {self._situation}" if self._situation else ""
        load = os.getloadavg()[0]
        print(f"\n## {title}{where} (load average {load:.1f} at its start)", flush=True)

    def line(self, what: str, seen: str, bar: str = "") -> None:
        """Print one figure."""
        print(f"{what:<62} {seen:>24}   {bar}".rstrip(), flush=True)
