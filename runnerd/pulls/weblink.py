"""A model behind an ordinary URL: one GGUF file, or all files of a split one.

Without a sha256 the content is whatever the server sends over https; the digest is computed and
shown, but there is nothing to hold it to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from yarl import URL

from runnerd.errors import ClientError, InvalidReference
from runnerd.models.digest import Digest
from runnerd.models.manifest import GGUF_TYPE, MOST_LAYERS
from runnerd.models.sources import default_reference
from runnerd.outbound.client import Outbound
from runnerd.pulls.hub_card import published_at
from runnerd.pulls.offer import Offer, OfferedFile, Remote
from runnerd.pulls.published import asked
from runnerd.pulls.source import SourceContext

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_CREDENTIALS = re.compile(r"//[^/]*@")
_LONGEST = 4096


def is_url(text: str) -> bool:
    """Say whether a reference is a URL."""
    return text.lower().startswith(("http://", "https://"))


def shown(text: str) -> str:
    """A reference for people and logs: of a URL without credentials and without its query, which
    holds keys where a link is signed.
    """
    if not is_url(text):
        return text
    return _CREDENTIALS.sub("//", re.split(r"[?#]", text, maxsplit=1)[0], count=1)


def parse_url(text: str) -> tuple[URL, Digest | None]:
    """Return a URL and the digest that its fragment states (`#sha256=<hex>`).

    Raises errors.InvalidReference.
    """
    try:
        if len(text) > _LONGEST or not text.isascii() or not text.isprintable() or "\\" in text:
            raise ValueError
        url = URL(text)
        if not url.host or url.user is not None or url.password is not None:
            raise ValueError
    except ValueError as error:
        raise InvalidReference(
            f"{shown(text)[:120]!r} cannot be fetched: write https://host/path, without a password"
        ) from error
    fragment = url.fragment
    digest = Digest(fragment.removeprefix("sha256=").lower()) if fragment else None
    return url.with_fragment(None), digest


@dataclass(frozen=True, slots=True)
class WebSource:
    """A model behind a URL; `text` is how it was typed.  A `pulls.source.Source`."""

    text: str = field(compare=False)
    url: URL
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, digest: Digest | None) -> WebSource:
        """Read a URL; `digest` goes before what its fragment states.

        Raises errors.InvalidReference.
        """
        url, stated = parse_url(text)
        return cls(text, url, digest or stated)

    @property
    def tag(self) -> str | None:
        return str(default_reference(self.url.name))

    async def offer(self, context: SourceContext) -> Offer:
        offered = offer(context.http, self.url, self.digest)
        endpoint = context.settings().hub_endpoint
        said = await asked(published_at(context.http, endpoint, self.url))
        return replace(offered, published=said)


def offer(http: Outbound, url: URL, digest: Digest | None) -> Offer:
    """Return the files at `url`; `digest` is that of a single one.  Raises errors.ClientError."""
    urls = _shards(url)
    if digest is not None and len(urls) > 1:
        raise ClientError("one sha256 cannot stand for the several files of a split model")
    files = tuple(
        OfferedFile(
            file_name(url), GGUF_TYPE, Remote(http, url, verified=digest is not None), digest
        )
        for url in urls
    )
    return Offer(files, name=file_name(urls[0]))


def file_name(url: URL) -> str:
    """Return the last part of a URL's path, for display and for a default tag."""
    return unquote(url.raw_name)[:200] or "model"


def _shards(url: URL) -> list[URL]:
    match = _SHARD.fullmatch(url.name)
    if match is None:
        return [url]
    prefix, count = match[1], int(match[3])
    if not 0 < count <= MOST_LAYERS:
        raise InvalidReference(f"a model has at most {MOST_LAYERS} files", param="from")
    names = (f"{prefix}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))
    return [url.with_name(name).with_query(url.query) for name in names]
