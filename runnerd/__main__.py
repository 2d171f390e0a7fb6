"""`runnerd`: parse the arguments, import the one command that is wanted, run it."""

from __future__ import annotations

import io
import os
import sys

from runnerd import early


def main() -> int:
    """Run the command line and return the exit status: 0 well, 1 failed, 2 wrong usage."""
    early.open_standard_streams()
    if _serves(sys.argv[1:]):
        early.end_at_once()
    try:
        return _run()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has gone (`| head`); Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run() -> int:
    from runnerd.cli.arguments import parse

    options = parse(sys.argv[1:])
    from runnerd.errors import RunnerdError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # models write what a terminal may not have
    try:
        status = int(options.run(options) or 0)
        sys.stdout.flush()
        return status
    except RunnerdError as error:
        print(f"runnerd: {error.message}", file=sys.stderr)
        return 1


def _serves(arguments: list[str]) -> bool:
    """Return whether the command is `serve`: only `--host HOST` may stand before it."""
    if arguments[:1] == ["--host"]:
        arguments = arguments[2:]
    elif arguments[:1] and arguments[0].startswith("--host="):
        arguments = arguments[1:]
    return arguments[:1] == ["serve"]


if __name__ == "__main__":
    sys.exit(main())
