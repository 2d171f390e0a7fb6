"""One SQLite file, `STATE_DIR/runnerd.db`, for what has to survive and is no model.

Only this room imports sqlite3.  One thread alone writes and checkpoints (`writer`): SQLite before
3.51.3 can lose what was committed when one connection resets the write-ahead log while another one
checkpoints it, and the library is the host's.  Whoever reads has a connection of its own that
cannot write.

Users of this room hand in *work*: a function that gets a connection, runs statements on it and
returns something.  Work that writes runs inside a transaction and is acknowledged once that is on
the disk; it must not do anything else, since it may be run again.

A database that cannot be used keeps nobody from serving models: what it is for is refused, with
the reason (`failures`), and it is tried again.
"""

from runnerd.database.database import Database
from runnerd.database.failures import Connection, Duplicate

__all__ = ["Connection", "Database", "Duplicate"]
