"""The one thread that writes to the database and checkpoints it.

Work waits in a queue; what has come together is carried out in one transaction and acknowledged
when that is on the disk, so many small changes share one wait for it.  Each piece of work has a
savepoint of its own: one that raises takes nothing with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from runnerd.database import failures, opening
from runnerd.database.refusal import Refusal, change_nothing
from runnerd.errors import DatabaseFailure, RunnerdError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_MOST_TOGETHER = 256  # pieces of work in one transaction
_WAL_BYTES = 4 * 2**20  # a longer log is written back into the file
_RETRY = 5.0  # seconds between tries to open a database that cannot be used, at first
_LONGEST_RETRY = 60.0


class _Piece:
    """Work that waits; `alone` wants no transaction around it and sees to its own."""

    def __init__(self, work: Callable[[Any], Any], *, alone: bool) -> None:
        self.work = work
        self.alone = alone
        self.future: Future[Any] = Future()


class Writer:
    """Owns the connection that writes, from `start` to `close`.

    `opened` is called in the thread with each connection that was opened; `problem` says why there
    is none, `refusal` why the latest change could not be written.
    """

    def __init__(self, path: Path, opened: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._opened = opened
        self._queue: SimpleQueue[_Piece | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._closing = threading.Lock()  # nothing is queued behind the end
        self._next_try = 0.0
        self._retry = _RETRY / 2  # seconds until the next try, if nobody asks for one before
        self._file: tuple[int, int] | None = None  # which file was opened last
        self.problem: RunnerdError | None = None
        self.refusal = Refusal(path)

    def start(self) -> Future[None]:
        """Start the thread; the future is done once the database is open, or cannot be opened.

        It fails with errors.StartupError only; what else is wrong is in `problem`.
        """
        self._thread.start()
        return self.submit_alone(self._is_open)

    def submit(
        self, work: Work[T], *, then: Callable[[Future[T]], None] | None = None
    ) -> Future[T]:
        """Hand in work; its future has the result once it is on the disk.

        The future fails with what the work raises, or with why the database cannot be written:
        then nothing has changed.  It may be run again, so it must do nothing else.  `then` is
        called in the thread with the future that is done, in the order of changes.
        """
        piece = _Piece(work, alone=False)
        if then is not None:
            piece.future.add_done_callback(then)
        return self._put(piece)

    def submit_alone(self, work: Callable[[sqlite3.Connection | None], T]) -> Future[T]:
        """Hand in work that sees to its own transactions, and may find no connection."""
        return self._put(_Piece(work, alone=True))

    def _put(self, piece: _Piece) -> Future[Any]:
        with self._closing:
            if not self._closed:
                self._queue.put(piece)
                return piece.future
        piece.future.set_exception(DatabaseFailure("the daemon is going away"))
        return piece.future

    def distrust(self, error: sqlite3.Error) -> None:
        """Somebody has read damage: write no more before the whole file was looked at again."""
        self.submit_alone(lambda _: self._give_up(error))

    def close(self) -> None:
        """Carry out what waits, and close the file; blocks.  Idempotent."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    # everything below runs in the thread

    def _is_open(self, connection: sqlite3.Connection | None) -> None:
        if connection is None:
            assert self.problem is not None
            raise self.problem

    def _run(self) -> None:
        self._try_to_open()
        while True:
            pieces, ends = self._next()
            if pieces:
                self._carry_out(pieces)
                self._checkpoint(_WAL_BYTES)
            elif self._connection is None and not ends:
                self._try_to_open()
            elif self.refusal.error is not None and not ends:
                self._try_a_change()
            if ends:
                break
        if self._connection is not None:
            self._checkpoint(0)
            self._connection.close()

    def _next(self) -> tuple[list[_Piece], bool]:
        """What waits, after a wait for the first of it, and whether it is the last."""
        pieces: list[_Piece] = []
        well = self._connection is not None and self.refusal.error is None
        timeout = None if well else self._retry
        try:
            piece = self._queue.get(timeout=timeout)
            while piece is not None:
                pieces.append(piece)
                if len(pieces) == _MOST_TOGETHER:
                    return pieces, False
                piece = self._queue.get_nowait()
        except Empty:
            return pieces, False
        return pieces, True

    def reopen(self) -> None:
        """Open the file anew; for work that has put another one in its place, in the thread."""
        self._try_to_open()
        self._is_open(self._connection)

    def _try_to_open(self) -> None:
        connection = None
        self._next_try = time.monotonic() + _RETRY
        self._retry = min(2 * self._retry, _LONGEST_RETRY)
        try:
            if self._file is not None and not os.path.lexists(self._path):
                raise failures.removed()  # an empty one in its place would have no users
            connection = opening.open_for_writing(self._path)
            self._opened(connection)
        except RunnerdError as error:
            if self.problem is None or self.problem.message != error.message:
                log.error("the database cannot be used: %s", error.message)
            self.problem = error
        except Exception as error:
            log.exception("the database cannot be opened")
            self.problem = DatabaseFailure(f"the database cannot be opened: {error}")
        else:
            if self.problem is not None:
                log.info("the database can be used again")
            self._connection, self.problem = connection, None
            self._file = opening.identity(self._path)
            self._retry = _RETRY / 2
            return
        if connection is not None:
            connection.close()

    def _carry_out(self, pieces: list[_Piece]) -> None:
        if self._connection is not None and opening.identity(self._path) != self._file:
            self._leave()
        if self._connection is None and time.monotonic() >= self._next_try:
            self._try_to_open()  # it may be well again, and whoever asked is waiting
        for alone, group in groupby(pieces, lambda piece: piece.alone):
            together = list(group)
            if alone or not self._together(together):
                for piece in together:  # each gets its own result
                    self._alone(piece, transaction=not alone)

    def _together(self, pieces: list[_Piece]) -> bool:
        """Carry work out in one transaction; False where that failed, and nothing has changed."""
        connection = self._connection
        if connection is None or len(pieces) < 2:
            return False
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as failure:
            if not failures.is_busy(failure):
                return False
            self.refusal.note(failures.locked())
            for piece in pieces:  # another program holds it: for all of them
                _settle(piece.future, None, failures.locked())
            return True
        try:
            for piece in pieces:
                results.append((piece.future, *_within_savepoint(connection, piece.work)))
            connection.execute("COMMIT")
        except sqlite3.Error:
            _roll_back(connection)
            return False
        self.refusal.note(None)
        for future, result, error in results:
            _settle(future, result, error)
        return True

    def _alone(self, piece: _Piece, *, transaction: bool) -> None:
        try:
            result = self._one(piece.work, transaction=transaction)
        except BaseException as error:
            _settle(piece.future, None, error)
        else:
            _settle(piece.future, result, None)

    def _one(self, work: Callable[[Any], T], *, transaction: bool) -> T:
        connection = self._connection
        if not transaction:
            return work(connection)
        self._is_open(connection)
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
            self.refusal.note(None)
            return result
        except BaseException as error:
            if connection.in_transaction:
                _roll_back(connection)
            if not isinstance(error, sqlite3.Error) or isinstance(error, failures.Duplicate):
                raise
            if failures.is_damage(error):
                self._give_up(error)
            explained = failures.explained(error, self._path)
            self.refusal.note(explained)
            raise explained from error

    def _try_a_change(self) -> None:
        """Find out whether the file takes changes again, where nobody else tries one."""
        self._retry = min(2 * self._retry, _LONGEST_RETRY)
        if self.refusal.disk_is_well():
            self._carry_out([_Piece(change_nothing, alone=False)])
        if self.refusal.error is None:
            self._retry = _RETRY / 2

    def _give_up(self, error: sqlite3.Error) -> None:
        """Use the file no more: what else it says cannot be believed either."""
        if self._connection is None:
            return
        self.problem = failures.damaged(str(error))
        log.error("the database cannot be used: %s", self.problem.message)
        self._connection.close()
        self._connection = None

    def _leave(self) -> None:
        """Somebody has removed or replaced the file: what is written to it now would be lost."""
        self._checkpoint(0)  # into the removed file: its log must not be taken for another's
        if self._connection is not None:
            self._connection.close()
        self._connection, self.problem = None, failures.removed()
        self._next_try = 0.0
        log.error("the database cannot be used: %s", self.problem.message)

    def _checkpoint(self, more_than: int) -> None:
        """Write a long log back into the file.  Whoever reads is not waited for."""
        if self._connection is None:
            return
        log_file = self._path.with_name(self._path.name + "-wal")
        try:
            if log_file.stat().st_size > more_than:
                kind = "PASSIVE" if more_than else "TRUNCATE"
                self._connection.execute(f"PRAGMA wal_checkpoint({kind})")
        except (OSError, sqlite3.Error) as error:  # the log has everything; it is tried again
            log.debug("checkpoint: %s", error)


def _within_savepoint(
    connection: sqlite3.Connection, work: Work[T]
) -> tuple[T | None, BaseException | None]:
    """The result of work, or what it raised, and then nothing of it is left.

    Raises sqlite3.Error for what concerns the file and not this work.
    """
    connection.execute("SAVEPOINT piece")
    try:
        result = work(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, failures.Duplicate):
            raise
        connection.execute("ROLLBACK TO piece")
        connection.execute("RELEASE piece")
        return None, error
    connection.execute("RELEASE piece")
    return result, None


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # SQLite has done it itself after some errors
        connection.execute("ROLLBACK")


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
