"""Downloads of LLMs: pulls that bring a registry entry along."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, field
from uuid import uuid4

from runnerd import tasks, threads
from runnerd.errors import ClientError, InternalError, NotSupported, RunnerdError
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry
from runnerd.llms.entry_rows import OWNERS, KeptEntry
from runnerd.llms.entry_store import EntryStore
from runnerd.models.intake import Progress
from runnerd.models.store import Store
from runnerd.pulls.asker import Asker
from runnerd.pulls.pulling import Pulls
from runnerd.pulls.source_parsing import parse_source
from runnerd.pulls.transfer_tasks import Subscription
from runnerd.pulls.weblink import is_url

log = logging.getLogger(__name__)

_WHOLE = 100.0


@dataclass(eq=False)
class Download:
    """One LLM on its way.  `owner` is the id of the principal who asked for it, `said_by` of whom
    its entry is then.
    """

    uuid: str
    entry: LLMRegistryEntry
    owner: str
    said_by: str
    subscription: Subscription
    task: asyncio.Task[None] = field(init=False)

    @property
    def progress(self) -> float:
        """How much of it is here, in per cent; all of it only once it can be used."""
        job = self.subscription.job
        part = job.current / job.total if job.total else 0.0
        return min(_WHOLE * part, _WHOLE - 0.1)


class Downloads:
    """All that are under way, until `close`; whoever asked may leave."""

    def __init__(self, store: Store, pulls: Pulls, entries: EntryStore) -> None:
        self._store = store
        self._pulls = pulls
        self._entries = entries
        self._active: dict[str, Download] = {}

    def active(self) -> list[Download]:
        """Those under way."""
        return list(self._active.values())

    async def begin(self, entry: LLMRegistryEntry, asker: Asker, *, reusable: set[str]) -> str:
        """Begin a download, and return the UUID of what it brings.

        Where the address was downloaded before, and the model is one of `reusable` (ids), it is
        used at once.  Raises errors.ClientError, NotSupported, Overloaded, LimitReached; what goes
        wrong later is in the log, and the UUID means nothing then.
        """
        check_downloadable(entry)
        uuid, said_by = str(uuid4()), _said_by(asker)
        self._check_room(said_by)
        if await self._reused(uuid, entry, reusable, said_by):
            return uuid
        self.start(entry, asker, uuid=uuid)
        return uuid

    def start(
        self,
        entry: LLMRegistryEntry,
        asker: Asker,
        *,
        uuid: str | None = None,
        drafts: bool = True,
    ) -> Download:
        """Pull what an entry names, with `drafts` as `Pulls.pull` does.

        Raises errors.ClientError, NotSupported, Overloaded, LimitReached.
        """
        check_downloadable(entry)
        uuid, said_by = uuid or str(uuid4()), _said_by(asker)
        self._check_room(said_by)
        tag = tag_of(entry, uuid)
        subscription = self._pulls.pull(entry.url, tag=tag, drafts=drafts, asker=asker)
        download = Download(uuid, entry, asker.principal.id, said_by, subscription)
        self._active[uuid] = download
        download.task = tasks.spawn(self._follow(download, tag), name=f"download {entry.id}")
        return download

    async def wait(self, download: Download) -> None:
        """Wait until a download can be used.  Raises the pull's error."""
        await asyncio.shield(download.task)
        download.subscription.model  # noqa: B018  # raises what went wrong
        if download.uuid not in self._entries.kept.llms:
            raise InternalError("the entry of the model could not be kept; the log has more")

    def followed(self, download: Download) -> Subscription:
        """A follower of a download, which ends once that can be used."""
        return _Followed(self, download)

    async def close(self) -> None:
        """End what waits; the pulls are another's.  Idempotent."""
        for download in self.active():
            await tasks.cancel_and_wait(download.task)

    async def _follow(self, download: Download, tag: str | None) -> None:
        try:
            model = await download.subscription.result()
            kept = tag or parse_source(download.entry.url).tag or ""
            await self._entries.put(
                KeptEntry(download.uuid, str(model.id), kept, download.entry, download.said_by)
            )
        except RunnerdError as error:
            log.warning("the download of %s failed: %s", download.entry.id, error.message)
        finally:
            del self._active[download.uuid]

    def _check_room(self, said_by: str) -> None:
        coming = sum(each.said_by == said_by for each in self._active.values())
        self._entries.check_room(said_by, coming)

    async def _reused(
        self, uuid: str, entry: LLMRegistryEntry, reusable: set[str], said_by: str
    ) -> bool:
        for kept in self._entries.kept.llms.values():
            if kept.entry.url != entry.url or kept.model not in reusable:
                continue
            tag = tag_of(entry, uuid)
            if tag is None:
                tag = kept.tag
            else:
                await threads.run(self._store.names.tag, kept.model, tag)
            await self._entries.put(KeptEntry(uuid, kept.model, tag, entry, said_by))
            published = self._entries.kept.published.get(kept.model, {}).get(kept.tag)
            if published is not None:
                await self._entries.publish(self._store.get(kept.model), tag, published)
            return True
        return False


class _Followed(Subscription):
    """Ends when the entry is kept, not when the pull has ended."""

    def __init__(self, downloads: Downloads, download: Download) -> None:
        super().__init__(download.subscription.job)
        self._downloads = downloads
        self._download = download

    async def __anext__(self) -> Progress:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            await self._downloads.wait(self._download)
            raise


def _said_by(asker: Asker) -> str:
    """Whose word an entry is that somebody brings."""
    return OWNERS if asker.is_owner else asker.principal.id


def check_downloadable(entry: LLMRegistryEntry) -> None:
    """Raise errors.ClientError or NotSupported for an entry that names nothing to download."""
    if entry.connector_type is not ConnectorType.LLMRS:
        raise NotSupported(
            f"an LLM with the connector {entry.connector_type.value} is another host's API; this"
            " one runs models of its own: connectorType llmrs"
        )
    if not entry.url:
        raise ClientError("the registry entry has no url", param="url")
    parse_source(entry.url)


def tag_of(entry: LLMRegistryEntry, uuid: str) -> str | None:
    """What the model of a download is called; None where its address is a name already."""
    if not is_url(entry.url):
        return None
    name = re.sub(r"[^a-z0-9]+", "-", entry.id.lower()).strip("-")[:100] or "llm"
    return f"pantry/{name}:{uuid[:8]}"
