"""Every setting of the daemon, with its unit, its default and the reason for it.

Groups of settings, which are tables in the file, have modules of their own (`limit_settings`,
`job_settings`, ...).

*Settings* are the daemon's own (this file); a *configuration* is what an owner set for one model
(`backends.interface.BackendConfiguration`).  A setting comes from a flag of `runnerd serve`, else
from `RUNNERD_<NAME>`, else from the TOML file (`--config`, `RUNNERD_CONFIG`), else it has its
default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runnerd import secrecy
from runnerd.config_errors import wrong_settings
from runnerd.default_directories import default_runtime_dir, default_state_dir
from runnerd.errors import StartupError
from runnerd.job_settings import JobSettings
from runnerd.limit_settings import Limits
from runnerd.pantry_settings import PantrySettings
from runnerd.protollm_settings import ProtollmSettings
from runnerd.seeing_settings import SeeingSettings
from runnerd.session_settings import SessionSettings
from runnerd.setting_sources import EnvironmentVariables, SettingsFile
from runnerd.setting_types import (
    Bytes,
    Count,
    LowerCase,
    Registry,
    Seconds,
    SocketMode,
    WebAddress,
    check_text,
)

DEFAULT_LISTEN = "127.0.0.1:12434"  # the port that Docker Model Runner's clients assume


class Settings(SeeingSettings, BaseSettings):
    """The daemon's settings.  Times in seconds, sizes in bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="RUNNERD_",
        env_nested_delimiter="__",
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    socket: Path | None = Field(
        None, description="control socket; default RUNTIME_DIR/runnerd.sock"
    )
    socket_mode: SocketMode = Field(0o660, description="mode of the control socket")
    socket_group: str | None = Field(None, description="group of the control socket")
    listen: str = Field(DEFAULT_LISTEN, description="HOST:PORT for TCP; empty for none")
    owner_group: str | None = Field(
        None,
        description="its members may do everything, as the daemon's user and root may; empty for"
        " nobody; default: the control socket's group, unless there is a `user_group`",
    )
    user_group: str | None = Field(
        None, description="users of this host who may use models without a key; default: all"
    )
    require_keys: bool = Field(
        False, description="everybody but owners needs a key, on the Unix socket and loopback too"
    )
    allow_remote: bool = Field(
        False,
        description="let `listen` be more than loopback, which takes `require_keys` and TLS, too",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the certificate for TCP, and with those that signed it"
    )
    tls_key: Path | None = Field(None, description="PEM file with its key, without a passphrase")
    tls: Literal["", "elsewhere"] = Field(
        "", description="`elsewhere`: a proxy in front of the daemon does TLS"
    )
    trusted_proxies: list[str] = Field(
        [],
        description="addresses and networks of proxies: their X-Forwarded-For counts, and they are"
        " never taken for the user that they run as",
    )
    allowed_hosts: list[str] = Field(
        [], description="further names accepted in a Host header: NAME, *.DOMAIN, or * for any"
    )
    allowed_origins: list[str] = Field(
        [],
        description="web pages that may use the daemon: https://HOST[:PORT], https://*.DOMAIN, "
        "http://HOST:*, chrome-extension://*, or * for any",
    )
    local_origins: bool = Field(
        True, description="pages of this machine or the browser's, and apps, may use the daemon"
    )
    page: bool = Field(True, description="the owner's page, at /ui and for browsers at /")
    state_dir: Path = Field(default_factory=default_state_dir, description="models and state")
    runtime_dir: Path = Field(default_factory=default_runtime_dir, description="sockets and locks")
    capture_requests: bool = Field(
        False,
        description="keep the newest requests and responses in memory, for `/engines/requests`",
    )
    log_level: LowerCase = Field(
        "info",
        pattern="^(debug|info|warning|error)$",
        description="debug, info, warning or error",
    )

    default_backend: str = Field("llama.cpp", description="for routes that name no backend")
    idle_timeout: Seconds = Field(300.0, ge=0, description="unused runners are stopped after this")
    load_timeout: Seconds = Field(
        600.0, gt=0, description="a runner that is not ready by then failed"
    )
    hang_timeout: Seconds = Field(
        60.0,
        gt=0,
        description="a model in use that gives no sign of life for this long is replaced",
    )
    turn: Seconds = Field(
        1.0,
        ge=0,
        description="a model in use keeps its memory this long before another one gets it (of more "
        "than two, down to half of it); twice the longest loading time if that is longer",
    )
    overcommit: float = Field(
        2.0,
        ge=0,
        le=2**20,
        description="requests that an engine gets per slot (up to four times as many while that is "
        "5 ms of work), the rest waits in a fair queue; 0: all",
    )
    slot_quota: Bytes = Field(
        4 * 2**30,
        ge=0,
        description="bytes of disk for what unloaded models had evaluated; 0: nothing is kept",
    )
    slot_timeout: Seconds = Field(
        5.0, gt=0, description="to write that down when a model goes, or to read it again"
    )
    max_runners: Count = Field(32, gt=0, description="runners that may exist at once")
    memory_share: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        {},
        description="of a device (ram, gpu0, ...) that runners may take in all, one alone too: "
        "what needs more is refused (507); default: all, and what seems bigger is tried alone",
    )
    memory_reserve: dict[str, Annotated[int, Field(ge=0, le=2**60)]] = Field(
        {"default": 512 * 2**20}, description="bytes of a device that runners leave free"
    )
    queue_length: Count = Field(1024, ge=0, description="requests that may wait for a runner")
    queue_timeout: Seconds = Field(600.0, gt=0, description="a request waits at most this long")
    drain_timeout: Seconds = Field(30.0, ge=0, description="SIGTERM: time for answers in flight")

    allowed_sources: list[str] = Field(
        [], description="hosts and networks that pulls may reach although they are internal"
    )
    insecure_registries: list[Registry] = Field(
        [], description="registries (host[:port]) spoken to over plain http; implies allowed"
    )
    default_registry: Registry = Field(
        "registry-1.docker.io", description="for model names without a registry"
    )
    hub_endpoint: WebAddress = Field(
        default_factory=lambda: os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
        description="the Hugging Face hub or a mirror of it; default HF_ENDPOINT",
    )
    hub_token: SecretStr = Field(
        SecretStr(""),
        description="for owners' hf.co pulls without a token of their own (`shared_logins`)",
    )
    shared_logins: list[Registry] = Field(
        [],
        description="registries (host[:port]), and hf.co, at which the daemon's own login or token"
        " counts for everybody who may pull; else it is the owners' alone",
    )
    outbound_proxy: WebAddress = Field("", description="http://host:port for pulls; empty for none")
    pull_parts: int = Field(4, gt=0, le=16, description="connections that fetch one file")
    auto_pull: bool = Field(
        False, description="pull a model that is not here when a request names it"
    )
    store_quota: Bytes = Field(
        0,
        ge=0,
        description="bytes that models, uploads and unfinished downloads may occupy; 0: the disk's",
    )
    model_dirs: list[Path] = Field(
        [], description="folders whose GGUF files are models, used where they lie and never written"
    )
    jobs: JobSettings = JobSettings()
    limits: Limits = Limits()
    sessions: SessionSettings = SessionSettings()
    pantry: PantrySettings = PantrySettings()
    protollm: ProtollmSettings = ProtollmSettings()
    backends: dict[str, dict[str, Any]] = Field({}, description="one table per backend")

    @model_validator(mode="before")
    @classmethod
    def _hold_text(cls, said: dict[str, Any]) -> dict[str, Any]:
        for name, value in said.items():
            try:
                check_text(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return said

    @property
    def socket_path(self) -> Path:
        """The control socket's path, wherever it was set."""
        return self.socket or self.runtime_dir / "runnerd.sock"

    def adopt(self, fresh: Settings) -> Adopted:
        """Take over what may change while the daemon runs, and say what was and what was not.

        There is one object of settings in a daemon, and everybody reads it at the moment when a
        setting counts: whoever keeps a value of its own does not hear of this.
        """
        different = differing(self, fresh)
        for name in different & RELOADABLE:
            setattr(self, name, getattr(fresh, name))
        return Adopted(different & RELOADABLE, different - RELOADABLE)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, EnvironmentVariables(settings_cls), SettingsFile(settings_cls)


def load(flags: dict[str, Any]) -> Settings:
    """Return the settings, `flags` (without Nones) first.

    Raises StartupError with one line per wrong setting.
    """
    try:
        return Settings(**flags)
    except ValidationError as error:
        raise StartupError(wrong_settings("", error, Settings.model_fields)) from error


def take_secrets() -> dict[str, str]:
    """Take the secret settings out of the environment; return them as `load` takes flags."""
    names = {f"RUNNERD_{name}".upper(): name for name in _SECRET}
    found = secrecy.take_from_environment(names)
    return {names[name]: value for name, value in found.items()}


_SECRET = ("hub_token", "outbound_proxy")

RELOADABLE = frozenset({
    "log_level", "capture_requests", "allowed_hosts", "allowed_origins", "local_origins",
    "idle_timeout", "load_timeout", "hang_timeout", "turn", "overcommit", "max_runners",
    "memory_share", "memory_reserve", "queue_length", "queue_timeout", "drain_timeout",
    "slot_timeout", "auto_pull", "pull_parts", "default_registry", "hub_endpoint", "hub_token",
    "shared_logins", "owner_group", "user_group", "require_keys", "trusted_proxies",
    "tls_certificate", "tls_key", "page", "model_dirs", "sessions", "jobs", "metrics", "log_format",
})  # fmt: skip
"""Settings that SIGHUP brings into force; the others need a restart.

Each is changed under a running daemon by tests/integration/test_live_settings.py.
"""


class Adopted(NamedTuple):
    """The names of settings that differ: those in force now, and those that need a restart."""

    now: frozenset[str]
    later: frozenset[str]


def differing(old: Settings, new: Settings) -> frozenset[str]:
    """Return the names of the settings that differ."""
    return frozenset(
        name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)
    )
