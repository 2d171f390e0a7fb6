"""Where the daemon keeps its state and its sockets, where nobody has said anything else."""

from __future__ import annotations

import os
from pathlib import Path

from runnerd.errors import StartupError


def default_state_dir() -> Path:
    """Return systemd's STATE_DIRECTORY, else `$XDG_DATA_HOME/runnerd`."""
    if directory := os.environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    if home := os.environ.get("XDG_DATA_HOME"):
        return Path(home) / "runnerd"
    try:
        return Path.home() / ".local" / "share" / "runnerd"
    except RuntimeError as error:  # neither HOME nor an entry for our user
        raise StartupError("there is no home directory: say --state-dir DIR") from error


def default_runtime_dir() -> Path:
    """Return systemd's RUNTIME_DIRECTORY, else the user's usual one."""
    if directory := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(directory.split(":")[0])
    return usual_runtime_dir()


def usual_runtime_dir() -> Path:
    """Return `$XDG_RUNTIME_DIR/runnerd`, else one per user in /tmp: where clients look, too.

    Anybody can make a folder in /tmp, so neither side takes one that is not its user's own.
    """
    if directory := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(directory) / "runnerd"
    return Path("/tmp") / f"runnerd-{os.getuid()}"
