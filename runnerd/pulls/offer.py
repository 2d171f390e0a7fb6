"""What a source offers: the files of one model, and how each can be asked for.

A `Remote` is one file behind a URL.  It remembers where redirects led (a hub answers each request
with a redirect to a signed address; asking it for every piece would be rude and slow) and goes
back to the start when that address has expired.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from runnerd.errors import ModelNotFound, RunnerdError, SourceBusy, SourceDenied, SourceFailure
from runnerd.models.digest import Digest
from runnerd.outbound.client import Outbound
from runnerd.pulls.published import Published
from runnerd.pulls.retrying import BUSY, retry_after

# Returns the secret headers for a request; `refused` is the response that asked for other ones.
Secrets = Callable[[aiohttp.ClientResponse | None], Awaitable[Mapping[str, str] | None]]

_EXPIRED = frozenset({400, 401, 403, 404, 410})


async def no_secrets(refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
    """For servers that ask for no credentials."""
    return None if refused is not None else {}


NO_CREDENTIALS = (
    "a URL is fetched without credentials. A model of Hugging Face that wants some is pulled as"
    " hf.co/ORGANISATION/REPOSITORY, with a token in RUNNERD_HUB_TOKEN"
)


class Remote:
    """One file of a server."""

    def __init__(
        self,
        http: Outbound,
        url: URL,
        *,
        verified: bool,
        secrets: Secrets = no_secrets,
        remedy: str = NO_CREDENTIALS,
    ) -> None:
        """`remedy` is what to do where it is not given to us."""
        self._remedy = remedy
        self._http = http
        self._url = url
        self._verified = verified
        self._secrets = secrets
        self._direct: URL | None = None

    @property
    def url(self) -> URL:
        """Where it is."""
        return self._url

    @asynccontextmanager
    async def open(self, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for the file and yield the response: a 200, 206 or 416.

        Raises errors.SourceDenied (401), ModelNotFound, SourceFailure, SourceTimeout, Forbidden.
        """
        if (direct := self._direct) is not None:
            async with self._request(direct, headers, {}) as response:
                if response.status not in _EXPIRED:
                    self._check_status(response)
                    yield response
                    return
            self._direct = None
        secrets = await self._secrets(None) or {}
        async with self._request(self._url, headers, secrets) as response:
            better = await self._secrets(response) if response.status == 401 else None
            if better is None:
                self._remember(response)
                yield response
                return
        async with self._request(self._url, headers, better) as response:
            self._remember(response)
            yield response

    def _request(
        self, url: URL, headers: Mapping[str, str], secrets: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._http.request(
            "GET", url, headers=headers, secrets=secrets, verified=self._verified
        )

    def _remember(self, response: aiohttp.ClientResponse) -> None:
        if response.url.origin() != self._url.origin() and response.status not in _EXPIRED:
            self._direct = response.url  # a busy one as well: it is what has to be asked again
        self._check_status(response)

    def _check_status(self, response: aiohttp.ClientResponse) -> None:
        if response.status not in (200, 206, 416):
            raise refusal(response, "the file", self._remedy)


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """A file of an offer.  `digest` and `size` are None where the source does not state them."""

    name: str
    media_type: str
    remote: Remote
    digest: Digest | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The files of one model.

    `manifest` is the model's own where the source has one; else the store makes it from the files.
    `news` is what people should know about the choice that was made, `published` what the source
    says of the model.  `draft` is a model that drafts for this one, which gets the tag `tag`.
    """

    files: tuple[OfferedFile, ...]
    manifest: bytes | None = None
    name: str = "model"
    news: tuple[str, ...] = field(default=())
    draft: Offer | None = None
    tag: str | None = None
    published: Published | None = None

    @property
    def size(self) -> int:
        """The bytes of all files, as far as they are stated."""
        return sum(file.size or 0 for file in self.files)


def layer_id(file: OfferedFile) -> str:
    """Return how progress names a file: by its digest, or by that of its address."""
    return str(file.digest or Digest.of(str(file.remote.url).encode()))


def refusal(response: aiohttp.ClientResponse, what: str, remedy: str) -> RunnerdError:
    """Return the error that a source's 4xx or 5xx means for who asked for `what`.

    `remedy` is what helps where it is not given to us.
    """
    host, status = response.url.host, response.status
    if status in (401, 403):
        return SourceDenied(f"{host} does not give {what} to us: {remedy}")
    if status in (404, 410):
        return ModelNotFound(f"{host} does not have {what}", param="model")
    kind = SourceBusy if status in BUSY else SourceFailure
    return kind(
        f"{host} answered {status} when asked for {what}",
        retry_after=retry_after(response.headers),
    )
