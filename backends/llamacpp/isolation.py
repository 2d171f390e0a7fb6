"""What llama.cpp's programs may reach: their own files, and what a call of them is about."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles
from runnerd.backends.sandbox import Sandbox, device_nodes, folders_of

log = logging.getLogger(__name__)

_COMPILED = ".compiled"
_COMPILED_BYTES = 256 * 2**20


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

    def compiled(self, model: ModelFiles) -> Path | None:
        """The folder for what drivers compile for a model, made; None where there is none.

        Code lies there, so no two models share it: who takes one engine over plants none for all.
        """
        if not self._settings.sandbox or not device_nodes():
            return None
        name = hashlib.sha256(os.fsencode(model.weights)).hexdigest()[:16]
        folder = self._state_dir / _COMPILED / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning("what drivers compile is not kept: %s: %s", folder, error.strerror)
            return None
        return folder


def compiled_in(folder: Path) -> dict[str, str]:
    """The variables by which drivers find that folder."""
    return {
        "CUDA_CACHE_PATH": str(folder / "cuda"),
        "CUDA_CACHE_MAXSIZE": str(_COMPILED_BYTES),
        "XDG_CACHE_HOME": str(folder),
        "__GL_SHADER_DISK_CACHE_PATH": str(folder),
        "__GL_SHADER_DISK_CACHE_SIZE": str(_COMPILED_BYTES),
    }


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
