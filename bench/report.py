"""Prints figures as they come, each beside its bar."""

from __future__ import annotations


class Report:
    """Collects lines of `what | seen | bar` and prints each at once."""

    def section(self, title: str) -> None:
        """Begin a section."""
        print(f"\n## {title}", flush=True)

    def line(self, what: str, seen: str, bar: str = "") -> None:
        """Print one figure."""
        print(f"{what:<62} {seen:>24}   {bar}".rstrip(), flush=True)
