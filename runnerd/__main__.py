"""`runnerd`: parse the arguments, import the one command that is wanted, run it."""

from __future__ import annotations

import io
import os
import sys

from runnerd import early


def main() -> int:
    """Run the command line and return the exit status: 0 well, 1 failed, 2 wrong usage."""
    early.open_standard_streams()
    serves = _serves(sys.argv[1:])
    if serves:
        early.end_at_once()
    try:
        return _run()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read our output has gone (`| head`)
        _drop_output()
        return 1
    except UnicodeDecodeError as error:
        if serves:
            raise
        # Files are seen to where they are read, so it is our input.
        print(f"runnerd: the input is no text in {error.encoding}: {error.reason}", file=sys.stderr)
        return 1
    except OSError as error:
        if serves:
            raise
        # Files are seen to where they are opened, so it is our output that cannot be written.
        what = error.filename or "the output cannot be written"
        print(f"runnerd: {what}: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        return 1


def _drop_output() -> None:
    """Let Python write the rest of the output to nowhere, instead of complaining at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        from runnerd.cli.near_models import explained

        print(f"runnerd: {explained(error, options.host)}", file=sys.stderr)
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
