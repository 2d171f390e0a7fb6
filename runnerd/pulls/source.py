"""Where a model comes from: a registry, the hub or a web link, read once from what was typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runnerd.outbound.client import Outbound
from runnerd.pulls.credentials import DockerCredentials
from runnerd.pulls.offer import Offer
from runnerd.pulls.settings import PullSettings
from runnerd.resources import Host


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What the daemon gives to sources.  An owner may change `settings`, so ask each time."""

    http: Outbound
    settings: Callable[[], PullSettings]
    credentials: DockerCredentials
    host: Host


class Source(Protocol):
    """One model elsewhere.  Sources that name the same with the same credentials are equal."""

    @property
    def text(self) -> str:
        """How it was typed, for people."""
        ...

    @property
    def tag(self) -> str | None:
        """The tag that a pull gives its model, None for what is named by a digest only."""
        ...

    async def offer(self, context: SourceContext) -> Offer:
        """Ask the source for the files of the model.

        Raises errors.ModelNotFound, SourceDenied, SourceFailure, SourceTimeout, InvalidModelFile,
        ClientError, Forbidden.
        """
        ...
