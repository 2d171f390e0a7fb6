"""`/runnerd/database`, `backup` and `restore`: how it is, and all of it as a file, out and in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from aiohttp import hdrs, web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT, OUTCOME, json_response
from runnerd.api.routing import Routes
from runnerd.durable import forget, storage_errors
from runnerd.errors import ClientError, PayloadTooLarge, StartupError

ROUTES = Routes()

_BATCH = 2**20
_MOST_BYTES = 16 * 2**30


@ROUTES.get("/runnerd/database", Action.MANAGE_DATABASE)
async def database(request: web.Request) -> web.Response:
    """Whether the database can be used and changed, or why not, and how many users it has."""
    accounts = request.app[CONTEXT].accounts
    problem = accounts.database.problem or accounts.database.refusal
    return json_response(
        {
            "path": str(accounts.database.path),
            "problem": None if problem is None else problem.message,
            "users": len(accounts.users.directory.users()),
        }
    )


@ROUTES.post("/runnerd/backup", Action.MANAGE_DATABASE)
async def backup(request: web.Request) -> web.StreamResponse:
    """A copy of the database as it is at one moment."""
    async with request.app[CONTEXT].accounts.database.copy() as path:
        with await threads.run_or_close(lambda: open(path, "rb")) as file:
            left = os.fstat(file.fileno()).st_size
            response = web.StreamResponse(
                headers={
                    hdrs.CONTENT_TYPE: "application/vnd.sqlite3",
                    hdrs.CONTENT_LENGTH: str(left),
                }
            )
            await response.prepare(request)
            while batch := await threads.run(file.read, _BATCH):
                left -= len(batch)
                if not left:  # whoever has all of it may leave before we are done
                    request[OUTCOME] = response.status
                await response.write(batch)
            await response.write_eof()
    return response


@ROUTES.post("/runnerd/restore", Action.MANAGE_DATABASE)
async def restore(request: web.Request) -> web.Response:
    """Put a copy in the place of the database: all of it, or nothing."""
    accounts = request.app[CONTEXT].accounts
    path = accounts.database.new_copy_path()
    try:
        await _receive(request, path)
        await accounts.database.restore(path)
    except StartupError as error:
        raise ClientError(f"this file cannot be restored: {error.message}") from error
    finally:
        await threads.run_to_end(_forget, path)
    return json_response({"users": len(accounts.users.directory.users())})


async def _receive(request: web.Request, path: Path) -> None:
    received = 0
    with storage_errors("the database"):
        with await threads.run_or_close(lambda: _create(path)) as file:
            while batch := await request.content.readany():
                received += len(batch)
                if received > _MOST_BYTES:
                    raise PayloadTooLarge(f"a copy has at most {_MOST_BYTES} bytes")
                await threads.run(file.write, batch)
            await threads.run(file.flush)
            await threads.run(os.fsync, file.fileno())
    if not received:
        raise ClientError("the request has no body: send a file that `runnerd backup` has written")


def _create(path: Path) -> BinaryIO:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")


def _forget(path: Path) -> None:
    for file in _with_its_log(path):
        forget(file)


def _with_its_log(path: Path) -> Iterator[Path]:
    yield path
    for ending in ("-journal", "-wal", "-shm"):
        yield path.with_name(path.name + ending)
