"""What the units of llama.cpp take to compile.  See `estimate`."""

from __future__ import annotations

USUAL = 3.0

WEIGHTS: dict[str, float] = {}
