"""What a run is started for: the files of its models, and where its engine listens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import BackendContext
from runnerd.backends.llamacpp import slots
from runnerd.backends.llamacpp.command import Launch
from runnerd.errors import InvalidConfiguration, RunnerdError

_SUFFIX = ".sock"
_ENGINE_NAME = "e.sock"  # llama-server takes a path for one by its end
_SLOTS_FOLDER = ".run"


def engine_socket(socket: Path) -> Path:
    """Where the engine of a run on `socket` listens itself, behind the guard.

    In a folder of its own: it may make its socket there, and touch nobody else's.
    """
    return socket.with_name(socket.name.removesuffix(_SUFFIX)) / _ENGINE_NAME


def slots_folder(slots_dir: Path, socket: Path) -> Path:
    """Where the engine of a run on `socket` writes and reads slots: it sees nobody else's."""
    return slots_dir / (socket.name.removesuffix(_SUFFIX) + _SLOTS_FOLDER)


class Launches:
    """Knows the files of models from the context that the backend was made with."""

    def __init__(self, context: BackendContext) -> None:
        self._resolver = context.resolver
        self._slots_dir = context.slots_dir

    def of(
        self,
        socket: Path,
        model: str,
        model_ref: str,
        mode: BackendMode,
        config: BackendConfiguration,
    ) -> Launch:
        """The launch of one run.  Raises errors.ModelNotFound, InvalidModelFile."""
        speculative = config.speculative
        launch = Launch(
            socket=engine_socket(socket),
            model_ref=model_ref,
            files=self._resolver.resolve(model),
            draft=None if speculative is None else self._resolver.resolve(speculative.draft_model),
            mode=mode,
            configuration=config,
        )
        if self._slots_dir is None or not slots.works(launch):
            return launch
        return replace(launch, slots=slots_folder(self._slots_dir, socket))

    def shares(self, launch: Launch, name: str) -> bool:
        """Say whether a name is that of another model with the same files."""
        if not launch.files.load:
            return False
        try:
            return self._resolver.resolve(name).load == launch.files.load
        except RunnerdError:
            return False

    def check_draft(self, config: BackendConfiguration) -> None:
        """Raise errors.InvalidConfiguration for a draft model that is not here."""
        if config.speculative is None:
            return
        try:
            self._resolver.resolve(config.speculative.draft_model)
        except RunnerdError as error:
            raise InvalidConfiguration(
                f"speculative.draft_model: {error.message}; pull it first (`runnerd pull`)",
                param="speculative",
            ) from error
