"""`runnerd logs`: what the daemon and its engines have logged, also while no daemon runs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlencode

from runnerd.cli.client import Client, DaemonError
from runnerd.errors import ClientError

_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?) "
    r"(?:engine (?P<engine>[0-9a-z-]+): |(?P<level>[A-Z]+) (?P<logger>[\w.]+): )?(?P<message>.*)"
)


def logs(options: argparse.Namespace) -> int:
    """Print the logs: the daemon's word, or its files where it does not run."""
    for line in _lines(options):
        text = line.decode("utf-8", "replace")
        sys.stdout.write(
            f"{json.dumps(parsed(text), ensure_ascii=False)}\n" if options.json else text
        )
        sys.stdout.flush()
    return 0


def parsed(line: str) -> dict[str, str]:
    """A line as fields; of one that goes on with a message, only that."""
    text = line.rstrip("\n")
    found = _LINE.fullmatch(text)
    if found is None:
        return {"message": text}
    return {name: value for name, value in found.groupdict().items() if value is not None}


def _lines(options: argparse.Namespace) -> Iterator[bytes]:
    query = {"follow": str(options.follow).lower(), "no-engines": str(options.no_engines).lower()}
    if options.model:
        query["model"] = options.model
    if options.lines is not None:
        query["lines"] = str(options.lines)
    try:
        yield from Client(options.host).lines("GET", f"/logs?{urlencode(query)}")
    except DaemonError as error:
        if error.answer_status or options.host:  # it answers, or another host's was asked for
            raise
        yield from _of_files(options, error)


def _of_files(options: argparse.Namespace, unreachable: DaemonError) -> Iterable[bytes]:
    """The lines in the files of a daemon that does not run."""
    from runnerd.config import load
    from runnerd.observability.log_reader import LogReader

    if options.model:
        raise ClientError(
            f"{unreachable.message}; without it the logs of one model cannot be told from others'"
        )
    for folder in dict.fromkeys((load({}).state_dir, Path("/var/lib/runnerd"))):
        reader = LogReader(folder / "logs", engines=not options.no_engines)
        if reader.exists():
            print(f"no daemon runs; this is what {folder / 'logs'} has", file=sys.stderr)
            return reader.read(options.lines).splitlines(keepends=True)
    raise unreachable
