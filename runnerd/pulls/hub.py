"""Hugging Face: huggingface_hub reads the repository, our own transfer fetches the files.

The library knows the hub's API, its errors and its mirrors; it would fetch files as well, but
without our rules for addresses, without one hash and one part per file, and into a cache beside
the store.  Its requests go through the daemon's own way out, so the rules hold for them too.
It is imported on first use: it is large, and most days nobody pulls.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from runnerd.errors import (
    InvalidReference,
    ModelNotFound,
    SourceBusy,
    SourceDenied,
    SourceFailure,
)
from runnerd.models.digest import Digest
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.models.reference import Reference
from runnerd.outbound.client import Outbound, read_capped
from runnerd.pulls.offer import Offer, OfferedFile, Remote, Secrets
from runnerd.pulls.retrying import BUSY, retry_after
from runnerd.pulls.selection import RepositoryFile, Selection, news, select

if TYPE_CHECKING:
    import httpx2

HOST = "huggingface.co"
HOSTS = (HOST, "hf.co")

_MOST_BYTES = 64 * 2**20  # of a listing
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}")
_TOKEN = "set a token in RUNNERD_HUB_TOKEN (hub_token), or in HF_TOKEN for `runnerd pull`,"
_GIVEN_UP = 120.0  # seconds for one request of the library


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository as it was typed; the hub's names have upper case, references do not."""

    repository: str
    revision: str
    label: str | None
    reference: Reference

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> HubName:
        """Return what `hf.co/org/repo[@revision][:quant]` means.

        Raises errors.InvalidReference.
        """
        name, _, rest = text.strip().partition("@")
        label: str | None = None
        if rest:
            revision, _, label = rest.partition(":")
            name = f"{name}:{label}" if label else name
        reference = Reference.parse(name)
        revision = revision or "main"
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise InvalidReference(f"{revision[:120]!r} is not a revision")
        path = name.partition("/")[2]
        repository, _, label = path.partition(":")
        if not _REPOSITORY.fullmatch(repository) or ".." in repository:
            raise InvalidReference(
                f"{text[:120]!r} is not a repository: write hf.co/organisation/repository"
            )
        label = None if label in ("", "latest") else label
        return cls(repository, revision, label, reference)


def is_hub(reference: str) -> bool:
    """Say whether a reference names the hub."""
    return reference.strip().lower().partition("/")[0] in HOSTS


class Hub:
    """Reads repositories.  `endpoint` is the hub or a mirror of it."""

    def __init__(self, http: Outbound, endpoint: str) -> None:
        self._http = http
        self._endpoint = endpoint.rstrip("/")

    async def offer(self, name: HubName, *, token: str | None, memory_bytes: int) -> Offer:
        """Return the files of a repository that make the model that was meant.

        Raises errors.ModelNotFound, SourceDenied, SourceFailure, InvalidModelFile, Forbidden.
        """
        loop = asyncio.get_running_loop()
        commit, files = await asyncio.to_thread(self._list, loop, name, token)
        selection = select(files, name.label, memory_bytes)
        secrets = _bearer(token)
        offered = [self._file(name, commit, file, GGUF_TYPE, secrets) for file in selection.weights]
        if selection.mmproj is not None:
            offered.append(self._file(name, commit, selection.mmproj, MMPROJ_TYPE, secrets))
        return Offer(tuple(offered), name=_model_name(selection), news=news(selection, len(files)))

    def _file(
        self, name: HubName, commit: str, file: RepositoryFile, media_type: str, secrets: Secrets
    ) -> OfferedFile:
        url = URL(self._endpoint) / name.repository / "resolve" / commit / file.path
        remote = Remote(
            self._http,
            url,
            verified=file.digest is not None,
            secrets=secrets,
            remedy=self._remedy(name),
        )
        short = file.path.rpartition("/")[2]
        return OfferedFile(short, media_type, remote, file.digest, file.size)

    def _remedy(self, name: HubName) -> str:
        """Return what to do where the hub wants to know who asks."""
        page = f"{self._endpoint}/{name.repository}"
        return f"accept the terms on the model's page, {page}, and {_TOKEN} of that account"

    def _list(
        self, loop: asyncio.AbstractEventLoop, name: HubName, token: str | None
    ) -> tuple[str, list[RepositoryFile]]:
        """Return the commit and the files of a repository.  In a thread."""
        import huggingface_hub
        from huggingface_hub import errors

        huggingface_hub.set_client_factory(lambda: _client(self._http, loop))
        api = huggingface_hub.HfApi(endpoint=self._endpoint, token=token or False)
        try:
            info = api.model_info(name.repository, revision=name.revision, files_metadata=True)
        except errors.RevisionNotFoundError as error:
            raise ModelNotFound(
                f"{name.repository} has no revision {name.revision!r}", param="model"
            ) from error
        except errors.GatedRepoError as error:
            raise SourceDenied(f"{name.repository} is gated: {self._remedy(name)}") from error
        except errors.RepositoryNotFoundError as error:
            # The hub says the same of private repositories.
            if token is None and _status(error) == 401:
                raise SourceDenied(
                    f"{name.repository} does not exist or is private; for a private one"
                    f" {_TOKEN} of an account that may read it"
                ) from error
            raise ModelNotFound(f"the hub has no {name.repository}", param="model") from error
        except errors.HfHubHTTPError as error:
            kind = SourceBusy if _status(error) in BUSY else SourceFailure
            raise kind(
                f"the hub answered {_status(error)} for the list of files",
                retry_after=retry_after(error.response.headers) if error.response else None,
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise SourceFailure("the hub's list of files cannot be read") from error
        return _commit(info.sha, name), [_repository_file(file) for file in info.siblings or []]


def _model_name(selection: Selection) -> str:
    return selection.weights[0].path.rpartition("/")[2]


def _repository_file(file: Any) -> RepositoryFile:
    path = str(file.rfilename)
    if len(path) > 1024 or path.startswith("/") or ".." in path.split("/"):
        raise SourceFailure("the hub lists a file with an impossible name")
    digest = Digest(file.lfs.sha256) if file.lfs is not None else None
    return RepositoryFile(path, int(file.size or 0), digest)


def _commit(sha: str | None, name: HubName) -> str:
    return sha if sha and re.fullmatch(r"[0-9a-f]{40,64}", sha) else name.revision


def _status(error: Any) -> int:
    response = getattr(error, "response", None)
    return int(response.status_code) if response is not None else 0


def _bearer(token: str | None) -> Secrets:
    async def secrets(refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
        if refused is not None:
            return None
        return {"Authorization": f"Bearer {token}"} if token else {}

    return secrets


def _client(http: Outbound, loop: asyncio.AbstractEventLoop) -> httpx2.Client:
    """Return the library's HTTP client, with the daemon's way out as its transport."""
    import httpx2

    class Transport(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            future = asyncio.run_coroutine_threadsafe(_send(http, request), loop)
            try:
                status, headers, body = future.result(_GIVEN_UP)
            except concurrent.futures.TimeoutError:
                future.cancel()
                raise SourceFailure("the hub does not answer") from None
            return httpx2.Response(status, headers=headers, content=body, request=request)

    return httpx2.Client(transport=Transport(), follow_redirects=True, max_redirects=5)


_OWN_HEADERS = frozenset({"host", "connection", "accept-encoding", "content-length", "user-agent"})


async def _send(
    http: Outbound, request: httpx2.Request
) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = {
        name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS
    }
    secret = {name: headers.pop(name) for name in list(headers) if name.lower() == "authorization"}
    body = request.read() or None
    async with http.request(
        request.method,
        URL(str(request.url)),
        headers=headers,
        secrets=secret,
        body=body,
        redirects=0,
    ) as answer:
        content = await read_capped(answer, _MOST_BYTES)
        kept = [
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length", "connection")
        ]
        return answer.status, kept, content
