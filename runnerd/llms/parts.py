"""What the daemon has of LLMs, built together."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from runnerd import tasks, threads
from runnerd.config import Settings
from runnerd.database import Database
from runnerd.llms.downloads import Downloads
from runnerd.llms.entry_store import EntryStore
from runnerd.llms.llms import LLM, llms_of
from runnerd.models.bare_files import BareFiles
from runnerd.models.catalog import Catalog
from runnerd.models.store import Store
from runnerd.pulls.pulling import Pulls


@dataclass(frozen=True, slots=True)
class LLMParts:
    """Entries, downloads that bring some along, and files for programs that open them."""

    entries: EntryStore
    downloads: Downloads
    bare_files: BareFiles
    store: Store

    async def models_changed(self) -> None:
        """There are other models: copies go with those that are gone."""
        await threads.run(self.bare_files.sweep, self.store.catalog.entries)

    def among(self, models: Catalog, principal: str | None = None) -> list[LLM]:
        """The LLMs among models that there are for a principal, as what counts for it says them;
        without one as they were said.
        """
        return llms_of(models, self.entries.kept, principal)


async def build(
    stack: AsyncExitStack,
    state_dir: Path,
    store: Store,
    pulls: Pulls,
    database: Database,
    settings: Settings,
) -> LLMParts:
    """Build and open them; `stack` closes them."""
    entries = EntryStore(
        database, lambda: {str(id): each.tags for id, each in store.catalog.entries.items()}
    )
    await entries.open()
    pulls.files.keep_published = entries.publish
    downloads = Downloads(store, pulls, entries)
    stack.push_async_callback(downloads.close)
    folder = (settings.pantry.bare_models or state_dir / "bare").absolute()  # programs get paths
    bare_files = BareFiles(
        folder, lambda model: store.resolve(model).weights, store.room.check_quota
    )
    store.room.copies = bare_files.taken_bytes
    await threads.run(bare_files.open, store.catalog.entries)
    parts, loop = LLMParts(entries, downloads, bare_files, store), asyncio.get_running_loop()

    def sweep() -> None:
        tasks.spawn(parts.models_changed(), name="sweep bare models")

    def changed() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: the next start sees to it
            loop.call_soon_threadsafe(sweep)

    store.tell_of_changes(changed)
    return parts
