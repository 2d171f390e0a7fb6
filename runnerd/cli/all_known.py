"""A command for several models, jobs or sessions does nothing where one of them is not there.

Who mistypes the last of them would else have the first removed, or sent to a registry, already.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.client import NOT_FOUND

from runnerd.cli.client import Client, DaemonError


def check_all_known(client: Client, paths: Iterable[str], done: str) -> None:
    """See that the daemon has something at each of `paths`; `done` says what was not done.

    Raises DaemonError.  What may not be looked at is left to what is to be done with it.
    """
    for path in paths:
        try:
            client.json("GET", path)
        except DaemonError as error:
            if error.answer_status == NOT_FOUND:
                raise DaemonError(f"{error.message}; nothing was {done}", NOT_FOUND) from error
            if error.answer_status == 0:
                raise
