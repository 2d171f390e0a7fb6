from __future__ import annotations
from pathlib import Path

def installed_server(state_dir: Path) -> Path:
    return state_dir / "x"
