"""runnerd, with an error wherever something blocks its event loop that is not allowed to.

`python -m tests.support.nonblocking serve ...`: as `python -m runnerd`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from runnerd.__main__ import main
from tests.support.blocking import watch

if __name__ == "__main__":
    watch().activate()
    status: object = 1
    try:
        status = main()
    except SystemExit as error:
        status = error.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    finally:
        # Debian 12's Python crashes when it takes itself apart with the watch in it.
        logging.shutdown()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        if sys.exception() is None:
            os._exit(status if isinstance(status, int) else 0)
