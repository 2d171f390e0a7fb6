"""runnerd without its collector of circles, which tells at the end what that would have found.

`python -m tests.support.uncollected serve ...`: as `python -m runnerd`.  The last line of its
output is a JSON object: how many objects of each of runnerd's types were circular garbage.
"""

from __future__ import annotations

import collections
import gc
import json
import sys

from runnerd.__main__ import main

gc.disable()
status = main()
assert gc.get_threshold()[0] > 0, "the daemon of users would never collect any"
gc.set_debug(gc.DEBUG_SAVEALL)
gc.collect()
found = collections.Counter(
    type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("runnerd.")
)
print(json.dumps(found), flush=True)
sys.exit(status)
