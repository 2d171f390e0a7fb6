"""Which kind of source somebody means by what was typed."""

from __future__ import annotations

from runnerd.models.digest import Digest
from runnerd.models.pages import model_of_page
from runnerd.pulls.hub import HubSource, is_hub
from runnerd.pulls.registry import RegistrySource
from runnerd.pulls.source import Source
from runnerd.pulls.weblink import WebSource, is_url


def parse_source(
    text: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    digest: Digest | None = None,
    for_owner: bool = False,
) -> Source:
    """Read what somebody typed: a URL, a repository of the hub, a model of a registry, or the
    address of a page that shows one of the latter two.

    Raises errors.InvalidReference.
    """
    text = model_of_page(text)
    if is_url(text):
        return WebSource.parse(text, digest=digest)
    if is_hub(text):
        return HubSource.parse(text, token=token, revision=revision, for_owner=for_owner)
    return RegistrySource.parse(text, token=token, for_owner=for_owner)
