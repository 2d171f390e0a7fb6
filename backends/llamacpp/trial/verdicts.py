"""What trials found, on disk: one small file beside each folder of engines.

It is only a cache.  A file that is broken, foreign or cannot be written costs another trial and
nothing else; of two writers at once the last one wins.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

log = logging.getLogger(__name__)

FILE_NAME = ".trials.json"
State = Literal["works", "dies", "fails"]

_STATES: dict[object, State] = {state: state for state in get_args(State)}
_MOST = 64  # the oldest are forgotten
_LARGEST = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial of an engine found.

    `works`: it answered, with `flags` that it needs for that.  `dies`: a signal ended it that says
    that this processor does not run its code.  `fails`: something else went wrong, which may pass
    (memory that is taken, a full disk), so nothing is kept of it.  `reason` is for people.
    """

    state: State
    reason: str = ""
    signal: str = ""
    flags: tuple[str, ...] = ()


class Verdicts:
    """The verdicts in some files: read from all of them, written to the first."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def get(self, identity: str) -> Verdict | None:
        """What is known of an engine on this processor; None asks for a trial."""
        for file in self._files:
            if (verdict := _verdict(_read(file).get(identity))) is not None:
                return verdict
        return None

    def put(self, identity: str, verdict: Verdict) -> None:
        """Keep a verdict, where that can be done and the next trial would find the same."""
        if verdict.state == "fails":
            return
        file = self._files[0]
        known = _read(file)
        known.pop(identity, None)
        known[identity] = asdict(verdict)
        kept = dict(list(known.items())[-_MOST:])
        try:
            _write(file, json.dumps(kept, indent=1))
        except OSError as error:
            log.debug("%s is not kept: %s", file, error.strerror)


def _read(file: Path) -> dict[str, object]:
    try:
        with open(file, "rb") as opened:
            content = opened.read(_LARGEST + 1)
        document = json.loads(content) if len(content) <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _verdict(entry: object) -> Verdict | None:
    if not isinstance(entry, dict):
        return None
    state, flags = entry.get("state"), entry.get("flags")
    reason, signal = entry.get("reason"), entry.get("signal")
    if not isinstance(state, str) or state not in _STATES or not isinstance(flags, list):
        return None
    if not (isinstance(reason, str) and isinstance(signal, str)):
        return None
    if any(flag not in NEEDED_FLAGS for flag in flags):
        return None
    return Verdict(_STATES[state], reason, signal, tuple(flags))


def _write(file: Path, content: str) -> None:
    """Replace the file; not synced, it is only a cache."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as opened:
            opened.write(content)
        os.chmod(name, 0o644)  # the daemon may be another user than whoever installs
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


NEEDED_FLAGS = ("--no-repack",)
"""Flags that a verdict may ask for, since what a file says goes on a command line."""
