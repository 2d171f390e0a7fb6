"""Ollama's `/api/blobs`: files that clients send before they create a model of them."""

from __future__ import annotations

from aiohttp import web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT
from runnerd.api.ollama.errors import FAMILY, OLLAMA
from runnerd.api.routing import Routes
from runnerd.errors import NotFound
from runnerd.models.digest import Digest
from runnerd.models.store import Store
from runnerd.models.uploads import Upload

ROUTES = Routes(OLLAMA, family=FAMILY)

_BATCH_BYTES = 4 * 2**20  # handed to a thread at once


@ROUTES.head("/api/blobs/{digest}", Action.CREATE_MODEL)
async def has_blob(request: web.Request) -> web.Response:
    """Whether a blob is here."""
    digest = _digest(request)
    await threads.run(request.app[CONTEXT].store.entrance.ingredient, digest)
    return web.Response()


@ROUTES.post("/api/blobs/{digest}", Action.CREATE_MODEL)
async def send_blob(request: web.Request) -> web.Response:
    """Take a file: 201 when it was stored, 200 when it was here already."""
    digest, store = _digest(request), request.app[CONTEXT].store
    if await threads.run(_has, store, digest):
        response = web.Response()
        response.force_close()  # what is sent all the same is not waited for
        return response
    upload = await threads.run_or_close(store.uploads.begin)
    try:
        await _receive(request, upload)
        await threads.run(upload.finish, digest)
    finally:
        await threads.run_to_end(upload.close)
    return web.Response(status=201)


async def _receive(request: web.Request, upload: Upload) -> None:
    batch = bytearray()
    while data := await request.content.readany():
        batch += data
        if len(batch) >= _BATCH_BYTES:
            await _write(upload, bytes(batch))
            batch.clear()
    await _write(upload, bytes(batch))


async def _write(upload: Upload, batch: bytes) -> None:
    await threads.run(upload.write, batch)


def _has(store: Store, digest: Digest) -> bool:
    try:
        store.entrance.ingredient(digest)
    except NotFound:
        return False
    return True


def _digest(request: web.Request) -> Digest:
    # Ollama's own clients write a dash where the name of a file is made of it.
    return Digest.parse(request.match_info["digest"].replace("sha256-", "sha256:", 1))
