"""`runnerd`: parse the arguments, import the one command that is wanted, run it."""

from __future__ import annotations

import io
import os
import sys


def main() -> int:
    """Run the command line and return the exit status: 0 well, 1 failed, 2 wrong usage."""
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
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has gone (`| head`); Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
