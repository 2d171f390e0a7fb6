"""`runnerd serve`: the daemon in this process."""

from __future__ import annotations

import argparse
import gc
import os
from typing import TYPE_CHECKING, Any

from runnerd.default_directories import default_runtime_dir

if TYPE_CHECKING:
    from runnerd.config import Settings


def serve(options: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop."""
    # Whatever is imported stays, so to look for garbage in it is in vain, and an eighth of the
    # start.  The daemon has garbage collected from when it serves.
    gc.set_threshold(0)
    from runnerd import config

    if options.config:
        os.environ["RUNNERD_CONFIG"] = options.config
    named = ("socket", "state_dir", "runtime_dir")
    flags: dict[str, Any] = {name: value for name in named if (value := getattr(options, name))}
    if options.listen is not None:  # nothing, if it is empty
        flags["listen"] = options.listen
    settings = config.load(flags)
    flags.update(config.take_secrets())  # a reload finds them there
    from runnerd import daemon

    if options.first_run:
        from runnerd.cli import first_run

        paths = (settings.socket_path, first_run.SERVICE)
        named_path = None if _is_usual(settings) else settings.socket_path
        if (running := first_run.running_daemon(paths)) is not None:
            path, whose = running
            print(f"A daemon ({whose}) answers at {path} already; asking that one.")
            return first_run.greet(path, found=path != named_path, begun=False)
        first_run.greet_in_background(settings.socket_path, found=named_path is None)
    return daemon.main(settings, lambda: config.load(flags))


def _is_usual(settings: Settings) -> bool:
    """Whether the control socket is where it is unless somebody says something else."""
    return settings.socket is None and settings.runtime_dir == default_runtime_dir()
