"""What llama.cpp's programs may reach: their own files, and what a call of them is about."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles
from runnerd.backends.sandbox import Sandbox, folders_of


class Isolation:
    """Makes the sandbox of each program, as the settings want it.

    `state_dir` is the daemon's own: nothing that holds it is given as a whole.
    """

    def __init__(self, settings: LlamaCppSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir

    def of(
        self,
        program: Path,
        *,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
        sockets: Sequence[Path] = (),
        devices: bool,
    ) -> Sandbox | None:
        """The sandbox of one program, None where the owner wants none.  Looks at the disk."""
        if not self._settings.sandbox:
            return None
        programs = (
            *folders_of(program, [self._state_dir]),
            *self._settings.extra_library_path,
            *self._settings.sandbox_paths,
        )
        return Sandbox(programs, tuple(reads), tuple(writes), tuple(sockets), devices)


def files_of(model: ModelFiles) -> Iterator[Path]:
    """All files of a model, each of several shards among them."""
    yield model.weights
    stem, of, count = model.weights.stem.rpartition("-of-")
    if of and count.isdigit():
        first = stem.rpartition("-")[0]
        yield from model.weights.parent.glob(f"{glob.escape(first)}-*-of-{count}.gguf")
    yield from (model.mmproj,) if model.mmproj is not None else ()
    yield from (model.chat_template,) if model.chat_template is not None else ()
    yield from model.adapters
