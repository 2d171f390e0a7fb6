"""The signals that end a daemon, and the one that lets it read its settings anew."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from runnerd import early

log = logging.getLogger(__name__)


class StopSignals:
    """SIGTERM and SIGINT: the first one sets `stop`, each further one `hurry`."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self, *, reload: Callable[[], None], hurry: Callable[[], None]) -> None:
        """Take the signals from now on, and what came before; `reload` is called at SIGHUP.

        `hurry` is called each time that somebody does not want to wait.  Raises early.Stopped.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped, number, hurry)
        loop.add_signal_handler(signal.SIGHUP, reload)
        early.check()  # what came before these handlers were there
        if early.reloading():
            reload()

    def _stopped(self, number: signal.Signals, hurry: Callable[[], None]) -> None:
        if self.stop.is_set():
            log.warning("%s again: not waiting for the responses that are under way", number.name)
            self.hurry.set()
            hurry()
        self.stop.set()
