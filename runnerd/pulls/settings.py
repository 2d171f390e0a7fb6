"""What the owner's settings mean for pulls."""

from __future__ import annotations

from dataclasses import dataclass, field

from runnerd.config import Settings
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.credentials import HUB


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """`default` stands for the registry that is not written; `insecure` ones speak plain http."""

    default: str = HUB
    insecure: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PullSettings:
    """What the owner set; `workers` is how many connections fetch one file."""

    registries: RegistrySettings = field(default_factory=RegistrySettings)
    hub_endpoint: str = "https://huggingface.co"
    hub_token: str | None = None
    workers: int = 4
    shared_logins: frozenset[str] = frozenset()

    def lends(self, host: str, for_owner: bool) -> bool:
        """Whether the owner's login at a registry or the hub counts for who asks."""
        return for_owner or host in self.shared_logins


def make_outbound(settings: Settings) -> Outbound:
    """Return the daemon's way out.  Raises errors.StartupError for a wrong `allowed_sources`."""
    return Outbound(allowed_sources(settings), proxy=settings.outbound_proxy or None)


def allowed_sources(settings: Settings) -> AllowedSources:
    """The sources that pulls may reach although they are internal.  Raises errors.StartupError."""
    insecure = [_host(registry) for registry in settings.insecure_registries]
    return AllowedSources.parse([*settings.allowed_sources, *insecure])


def pull_settings(settings: Settings) -> PullSettings:
    """Return the part of the settings that pulls work with."""
    return PullSettings(
        registries=RegistrySettings(
            settings.default_registry, frozenset(settings.insecure_registries)
        ),
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() or None,
        workers=settings.pull_parts,
        shared_logins=frozenset(settings.shared_logins),
    )


def _host(registry: str) -> str:
    """Return a registry's host without its port."""
    host, colon, port = registry.rpartition(":")
    return host if colon and port.isdecimal() else registry
