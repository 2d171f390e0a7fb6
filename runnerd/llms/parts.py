"""What the daemon has of LLMs, built together."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

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

    def among(self, models: Catalog) -> list[LLM]:
        """The LLMs among models that there are for somebody."""
        return llms_of(models, self.entries.kept)


async def build(
    stack: AsyncExitStack,
    state_dir: Path,
    store: Store,
    pulls: Pulls,
    database: Database,
    settings: Settings,
) -> LLMParts:
    """Build and open them; `stack` closes them."""
    entries = EntryStore(database, lambda: {str(id) for id in store.catalog.entries})
    await entries.open()
    downloads = Downloads(store, pulls, entries)
    stack.push_async_callback(downloads.close)
    folder = settings.pantry.bare_models or state_dir / "bare"
    bare_files = BareFiles(folder, lambda model: store.resolve(model).weights)
    await asyncio.to_thread(bare_files.sweep, store.catalog.entries)
    return LLMParts(entries, downloads, bare_files)
