"""What the owner's settings mean for pulls."""

from __future__ import annotations

from runnerd.config import Settings
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.pulling import PullSettings
from runnerd.pulls.registry import RegistrySettings


def make_outbound(settings: Settings) -> Outbound:
    """Return the daemon's way out.  Raises errors.StartupError for a wrong `allowed_sources`."""
    insecure = [_host(registry) for registry in settings.insecure_registries]
    allowed = AllowedSources.parse([*settings.allowed_sources, *insecure])
    return Outbound(allowed, proxy=settings.outbound_proxy or None)


def pull_settings(settings: Settings) -> PullSettings:
    """Return the part of the settings that pulls work with."""
    return PullSettings(
        registries=RegistrySettings(
            settings.default_registry, frozenset(settings.insecure_registries)
        ),
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() or None,
        workers=settings.pull_parts,
    )


def _host(registry: str) -> str:
    """Return a registry's host without its port."""
    host, colon, port = registry.rpartition(":")
    return host if colon and port.isdecimal() else registry
