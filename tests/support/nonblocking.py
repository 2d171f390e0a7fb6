"""runnerd, with an error wherever something blocks its event loop that is not allowed to.

`python -m tests.support.nonblocking serve ...`: as `python -m runnerd`.
"""

from __future__ import annotations

import sys

from runnerd.__main__ import main
from tests.support.blocking import watch

if __name__ == "__main__":
    blocking = watch()
    blocking.activate()
    try:
        status = main()
    finally:
        blocking.deactivate()  # else Debian 12's Python crashes when it takes itself apart
    sys.exit(status)
