"""The way of a model to a registry: the blobs that it lacks, and the manifest last.

A registry shows a model only when its manifest is there, so a push that breaks leaves nothing
visible.  A blob that breaks is sent again from its start, a few times.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from runnerd import threads
from runnerd.errors import ModelNotFound, SourceFailure, SourceTimeout
from runnerd.models.manifest import MANIFEST_TYPE, Layer
from runnerd.models.model import Model
from runnerd.models.modelpack_writing import Form, as_modelpack
from runnerd.models.store import Store
from runnerd.outbound.client import Outbound
from runnerd.pulls.offer import refusal
from runnerd.pulls.registry import Registry
from runnerd.pulls.retrying import is_worth_waiting, pause_after, persistently
from runnerd.pulls.transfer_tasks import TransferTask

log = logging.getLogger(__name__)


_CHUNK_BYTES = 2**20
_ATTEMPTS = 4
_PAUSE = 1.0  # seconds, doubled each time
_PATIENCE = 600.0  # seconds: a registry hashes a large blob before it answers


class Push:
    """Sends one model of the store to one repository."""

    def __init__(self, http: Outbound, store: Store, registry: Registry) -> None:
        self._http = http
        self._store = store
        self._registry = registry

    async def run(self, job: TransferTask, model: Model, form: Form = "docker") -> Model:
        """Send what the registry lacks.

        Raises errors.SourceDenied, SourceFailure, SourceTimeout, ModelNotFound, Forbidden,
        NotSupported.
        """
        blobs, manifest = model.manifest.blobs, model.manifest.raw
        made: dict[Layer, bytes] = {}  # what is no file of the store
        if form == "modelpack":
            packed = as_modelpack(model)
            if model.description.context_size is not None:
                job.say("The packager's context size has no place in a ModelPack model")
            made[packed.config_layer] = packed.config
            blobs, manifest = (packed.config_layer, *dict.fromkeys(packed.layers)), packed.manifest
        job.total = sum(blob.size for blob in blobs)
        async with AsyncExitStack() as stack:
            for blob in blobs:
                content = made[blob] if blob in made else await self._claim(stack, blob)
                await self._send_blob(job, blob, content)
            await persistently(lambda: self._send_manifest(manifest), job.say)
        log.info("pushed %s to %s", model.id.short, self._registry.host)
        return model

    async def _claim(self, stack: AsyncExitStack, blob: Layer) -> Path:
        """Keep a blob from being removed while it is sent; return where it is."""
        claims, digest = self._store.claims, blob.digest
        found = await threads.run_or_undo(
            lambda: claims.claim(digest), undo=lambda _: claims.disclaim(digest)
        )
        stack.push_async_callback(threads.run_to_end, claims.disclaim, digest)
        if found is None:
            raise ModelNotFound(f"the blob {blob.digest.short} is no longer here")
        return found.temporary

    async def _send_blob(self, job: TransferTask, blob: Layer, content: Path | bytes) -> None:
        def progress(current: int) -> None:
            job.progressed(str(blob.digest), blob.size, current)

        if not await persistently(lambda: self._has(blob), job.say):
            job.moved = True
            for attempt in range(_ATTEMPTS):
                try:
                    await self._upload(blob, content, progress)
                    break
                except (SourceFailure, SourceTimeout) as error:
                    if attempt == _ATTEMPTS - 1 or not is_worth_waiting(error):
                        raise
                    log.info("push of %s: %s; again", blob.digest.short, error.message)
                    await asyncio.sleep(pause_after(attempt + 1, error, _PAUSE))
        progress(blob.size)

    async def _has(self, blob: Layer) -> bool:
        async with self._ask("HEAD", self._registry.url(f"blobs/{blob.digest}")) as response:
            if response.status == 404:
                return False
            if response.status != 200:
                raise self._refused(response)
            return True

    async def _upload(
        self, blob: Layer, content: Path | bytes, progress: Callable[[int], None]
    ) -> None:
        async with self._ask("POST", self._registry.url("blobs/uploads/")) as response:
            if response.status != 202:
                raise self._refused(response)
            place = _location(response)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(blob.size),
        }
        # Only where the upload goes to the registry itself does it get the credentials.
        ours = place.origin() == self._registry.url("").origin()
        secrets = await self._registry.secrets(None) if ours else {}
        async with (
            _body(content, blob.size, progress) as body,
            self._http.request(
                "PUT",
                place.update_query(digest=str(blob.digest)),
                headers=headers,
                secrets=secrets,
                body=body,
                redirects=0,
                verified=True,
                patience=_PATIENCE,
            ) as response,
        ):
            if response.status not in (201, 204):
                raise self._refused(response)

    async def _send_manifest(self, manifest: bytes) -> None:
        reference = self._registry.reference
        url = self._registry.url(f"manifests/{reference.tag}")
        async with self._ask(
            "PUT", url, headers={"Content-Type": MANIFEST_TYPE}, body=manifest
        ) as response:
            if response.status not in (200, 201, 202, 204):
                raise self._refused(response)

    @asynccontextmanager
    async def _ask(
        self, method: str, url: URL, *, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, once more with better credentials after a 401."""
        secrets: Mapping[str, str] | None = await self._registry.secrets(None) or {}
        for attempt in range(2):
            async with self._http.request(
                method,
                url,
                headers=headers,
                secrets=secrets,
                body=body,
                redirects=0,
                patience=_PATIENCE,
            ) as response:
                refused = response.status == 401 and attempt == 0
                better = await self._registry.secrets(response) if refused else None
                if better is None:
                    yield response
                    return
            secrets = better

    def _refused(self, response: aiohttp.ClientResponse) -> Exception:
        what = f"a push to {self._registry.reference}"
        return refusal(response, what, self._registry.remedy)


@asynccontextmanager
async def _body(
    content: Path | bytes, size: int, progress: Callable[[int], None]
) -> AsyncIterator[bytes | AsyncIterator[bytes]]:
    """A blob as the body of a request."""
    if isinstance(content, bytes):
        yield content
        return
    descriptor = await threads.run_or_undo(
        lambda: os.open(content, os.O_RDONLY | os.O_CLOEXEC), undo=os.close
    )
    try:
        yield _content(descriptor, size, progress)
    finally:
        os.close(descriptor)


async def _content(
    descriptor: int, size: int, progress: Callable[[int], None]
) -> AsyncIterator[bytes]:
    place = 0
    while place < size:
        chunk = await threads.run(os.pread, descriptor, min(_CHUNK_BYTES, size - place), place)
        if not chunk:
            raise SourceFailure("the blob became shorter while it was sent")
        yield chunk
        place += len(chunk)
        progress(place)


def _location(response: aiohttp.ClientResponse) -> URL:
    try:
        return response.url.join(URL(response.headers["Location"]))
    except (KeyError, ValueError) as error:
        raise SourceFailure(f"{response.url.host} does not say where to upload to") from error
