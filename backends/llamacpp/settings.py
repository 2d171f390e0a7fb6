"""The backend's own settings: the table [backends."llama.cpp"] of the settings file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from runnerd.backends.configuration import EngineName
from runnerd.backends.engine_users import AUTOMATIC, OFF, parse_range
from runnerd.config_errors import wrong_settings
from runnerd.errors import StartupError


class LlamaCppSettings(BaseModel):
    """How llama.cpp is found and run.  Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: EngineName = Field(
        "auto",
        description="native: llama-server only; python: llama_cpp.server only; or one engine by "
        "name: cuda, rocm, vulkan, cpu, ... as installed, or path for the one on the PATH",
    )
    path: Path | None = Field(None, description="llama-server to use instead of the one found")
    extra_library_path: list[Path] = Field([], description="LD_LIBRARY_PATH of the engine")
    default_context: int = Field(
        8192,
        ge=128,
        le=2**31 - 1,
        description="tokens where none is configured; the trained maximum seldom fits",
    )
    parallel: int | None = Field(
        None, ge=1, le=256, description="slots, where there is memory for them; default: four"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads of an engine; default: the engine's own choice"
    )
    prompt_cache: int = Field(
        1024,
        ge=0,
        le=2**30,
        description="MiB of RAM for prompts that left an engine's slots (0: none), and as "
        "much for states of recurrent models and windows that it can go back to",
    )
    sandbox: bool = Field(
        True,
        description="engines reach their own files and GPUs only, and no network; see docs for "
        "NCCL builds",
    )
    sandbox_paths: list[Path] = Field(
        [], description="further files and folders that engines may read and run"
    )
    engine_uids: str = Field(
        "auto",
        description="each engine runs as a user of its own, of this range: FIRST-LAST, off, or "
        "auto: 60578-60999 where the daemon is root with all its rights, for engines on the CPU "
        "and with `sandbox`",
    )
    stop_grace: float = Field(10.0, ge=0, le=86400, description="between SIGTERM and SIGKILL")
    encoder_memory: int = Field(
        512,
        ge=1,
        le=2**30,
        description="MiB of buffers that an encoder may have for the text it sees whole: limits "
        "its context where none is configured, never below 512 tokens",
    )
    memory_reserve: int = Field(
        256,
        ge=0,
        le=2**30,
        description="MiB of RAM that a runner needs beyond the engine's own account",
    )

    @field_validator("engine_uids")
    @classmethod
    def _is_range(cls, said: str) -> str:
        parse_range(said)
        return said

    @property
    def engine(self) -> str | None:
        """The one engine to use, None for whichever is best."""
        return None if self.server in ("auto", "native", "python") else self.server

    @property
    def users(self) -> str:
        """`engine_uids` as it applies: by themselves no users are given to engines that the owner
        does not want to be held back, such as a script that writes where it likes.
        """
        return OFF if self.engine_uids == AUTOMATIC and not self.sandbox else self.engine_uids


def parse_settings(table: dict[str, object]) -> LlamaCppSettings:
    """Return the settings.  Raises StartupError with one line per wrong one."""
    try:
        settings = LlamaCppSettings.model_validate(table)
    except ValidationError as error:
        where, known = ' in [backends."llama.cpp"]', LlamaCppSettings.model_fields
        raise StartupError(wrong_settings(where, error, known)) from error
    for path in (settings.path, *settings.extra_library_path, *settings.sandbox_paths):
        if path is not None and not path.is_absolute():
            raise StartupError(f'[backends."llama.cpp"]: {path} must be an absolute path')
    return settings
