"""runnerd, with an error wherever something blocks its event loop that is not allowed to.

`python -m tests.support.nonblocking serve ...`: as `python -m runnerd`.
"""

from __future__ import annotations

import sys

from runnerd.__main__ import main
from tests.support.blocking import watch

if __name__ == "__main__":
    watch().activate()
    sys.exit(main())
