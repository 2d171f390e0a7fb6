"""What llama.cpp's programs may reach, and as whom they run: their own files, and what a call of
them is about.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from runnerd.backends.engine_users import EngineUsers
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles
from runnerd.backends.sandbox import Sandbox, device_nodes, folders_of
from runnerd.backends.user_lending import UserLending

log = logging.getLogger(__name__)

_COMPILED = ".compiled"
_HELD = ".uids"
_COMPILED_BYTES = 256 * 2**20


class Isolation:
    """Makes the sandbox of each program, as the settings want it.

    `state_dir` is the daemon's own: nothing that holds it is given as a whole.
    """

    def __init__(self, settings: LlamaCppSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._users = EngineUsers(settings.users, state_dir / _HELD)
        self._lending = UserLending(self._users)

    @property
    def complaint(self) -> str:
        """What is not as the owner wants it, in words, "" where all is."""
        return self._users.complaint

    @property
    def changes_users(self) -> bool:
        """Whether programs may run as users of their own here."""
        return self._users.usable

    def keep_user_on_devices(self, reason: str) -> None:
        """Run programs that compute on GPUs as the daemon's user from now on."""
        self._lending.keep_on_devices(reason)

    @contextlib.asynccontextmanager
    async def of(
        self,
        program: Path,
        *,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
        sockets: Sequence[Path] = (),
        devices: bool,
        own_user: bool = True,
    ) -> AsyncIterator[Sandbox | None]:
        """The sandbox of one program, as long as it runs; None where nothing holds it back.

        Where the daemon can, the program gets a user of its own, and `writes` and `sockets` are
        that user's until the block ends; by then the program has to be gone.  Raises
        errors.HostExhausted.
        """
        sandbox = self._of(program, reads, writes, sockets, devices)
        if not (own_user and self._users.usable):
            yield sandbox if sandbox.held else None
            return
        async with self._lending.lent(program, sandbox) as user:
            sandbox = replace(sandbox, user=user)
            yield sandbox if sandbox.held or user is not None else None

    def _of(
        self,
        program: Path,
        reads: Sequence[Path],
        writes: Sequence[Path],
        sockets: Sequence[Path],
        devices: bool,
    ) -> Sandbox:
        programs = (
            *folders_of(program, [self._state_dir]),
            *self._settings.extra_library_path,
            *self._settings.sandbox_paths,
        )
        held = self._settings.sandbox
        return Sandbox(programs, tuple(reads), tuple(writes), tuple(sockets), devices, held)

    def compiled(self, model: ModelFiles) -> Path | None:
        """The folder for what drivers compile for a model, made; None where there is none.

        Code lies there, so no two models share it: who takes one engine over plants none for all.
        """
        shut_out = self._settings.sandbox or self._users.usable  # from the usual place
        if not shut_out or not device_nodes():
            return None
        name = hashlib.sha256(os.fsencode(model.weights)).hexdigest()[:16]
        folder = self._state_dir / _COMPILED / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning(
                "the GPU drivers' compiled code is not cached: %s: %s", folder, error.strerror
            )
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
