"""Hugging Face and its mirrors: one request lists the repository, our own transfer fetches files.

What the listing says is in `hub_listing`.  Why something is refused is said in X-Error-Code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import aiohttp
from yarl import URL

from runnerd import threads
from runnerd.errors import (
    InvalidReference,
    ModelNotFound,
    RunnerdError,
    SourceBusy,
    SourceDenied,
    SourceFailure,
)
from runnerd.models.gguf_start import START_BYTES, read_start
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.outbound.client import Outbound, read_capped
from runnerd.pulls.asker import Asker, FindLogin
from runnerd.pulls.file_kinds import FileKind, RepositoryFile, kind_by_header
from runnerd.pulls.hub_card import HOST, HOSTS
from runnerd.pulls.hub_listing import HubName, Listed, decoded
from runnerd.pulls.offer import Offer, OfferedFile, Remote, Secrets
from runnerd.pulls.retrying import BUSY, retry_after
from runnerd.pulls.selection import Selection, news, select
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.source import SourceContext
from runnerd.resources import Host

_MOST_LOOKED_AT = 4  # files whose headers are fetched before one is chosen
_MOST_BYTES = 64 * 2**20  # of a listing
_TOKEN = (
    "set a token in RUNNERD_HUB_TOKEN (hub_token), in HF_TOKEN for `runnerd pull`, or as a user"
    " with `runnerd login hf.co`,"
)
_WRONG_TOKEN = "Invalid credentials in Authorization header"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model in a repository of the hub; `text` is how it was typed.  A `pulls.source.Source`."""

    text: str = field(compare=False)
    name: HubName
    token: str | None = field(default=None, repr=False)
    for_owner: bool = False

    @classmethod
    def parse(
        cls, text: str, *, token: str | None, revision: str | None, for_owner: bool = False
    ) -> HubSource:
        """Read `hf.co/org/repo[@revision][:quant]`.  Raises errors.InvalidReference."""
        return cls(text, HubName.parse(text, revision), token, for_owner)

    def shown_by(self, asker: Asker, find: FindLogin, settings: PullSettings) -> HubSource:
        """The same with the own token of who asks, where it has one and sends none."""
        if self.token is not None or asker.user_id is None:
            return self
        login = find(asker.user_id, HOST)
        return self if login is None else replace(self, token=login.secret)

    @property
    def tag(self) -> str | None:
        return str(self.name.reference)

    async def offer(self, context: SourceContext) -> Offer:
        settings = context.settings()
        memory_bytes = await threads.run(_memory_bytes, context.host)
        hub = Hub(context.http, settings.hub_endpoint)
        token = self.token
        if token is None and any(settings.lends(host, self.for_owner) for host in HOSTS):
            token = settings.hub_token
        return await hub.offer(self.name, token=token, memory_bytes=memory_bytes)


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
        commit, files, said = await self._list(name, token)
        secrets = _bearer(token)
        selection = await self._choose(name, commit, files, secrets, memory_bytes)
        offered = [self._file(name, commit, file, GGUF_TYPE, secrets) for file in selection.weights]
        if selection.mmproj is not None:
            offered.append(self._file(name, commit, selection.mmproj, MMPROJ_TYPE, secrets))
        told = news(selection, len(files), name.repository)
        draft = None
        if selection.draft is not None:
            file = self._file(name, commit, selection.draft, GGUF_TYPE, secrets)
            if (tag := _tag_of(name, file.name)) is not None:
                draft = Offer((file,), name=file.name, tag=tag)
            else:
                told = (*told, f"Not taken: {file.name} (draft model): no model can be called that")
        return Offer(
            tuple(offered), name=_model_name(selection), news=told, draft=draft, published=said
        )

    async def _choose(
        self,
        name: HubName,
        commit: str,
        files: list[RepositoryFile],
        secrets: Secrets,
        memory_bytes: int,
    ) -> Selection:
        """Choose the files; where names and sizes leave a doubt, by what their headers say."""
        known: dict[str, FileKind] = {}
        while True:
            selection = select(files, name.label, memory_bytes, known)
            first = selection.weights[0]
            if selection.is_sure or first.path in known or len(known) >= _MOST_LOOKED_AT:
                return selection
            remote = self._file(name, commit, first, GGUF_TYPE, secrets).remote
            start = read_start(await _start_of(remote))
            if start is None:
                return selection  # what it is will be seen when it is here
            known |= {file.path: kind_by_header(start) for file in selection.weights}

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
        """Advice for who is refused by the hub: accept the terms, and send a token."""
        page = f"{self._endpoint}/{name.repository}"
        return f"accept the terms on the model's page, {page}, and {_TOKEN} of that account"

    async def _list(self, name: HubName, token: str | None) -> Listed:
        """The commit and the files of a repository, and what is said of it."""
        revision = quote(name.revision, safe="")
        path = f"/api/models/{name.repository}/revision/{revision}?blobs=true"
        url = URL(self._endpoint + path, encoded=True)
        secrets = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._http.request("GET", url, secrets=secrets) as response:
            if response.status != 200:
                raise self._refused(response, name, token)
            raw = await read_capped(response, _MOST_BYTES)
        return await threads.run(decoded, raw, name)

    def _refused(
        self, response: aiohttp.ClientResponse, name: HubName, token: str | None
    ) -> RunnerdError:
        """The error that the hub's refusal of a listing means; X-Error-Code says which it is."""
        status, code = response.status, response.headers.get("X-Error-Code", "")
        if code == "RevisionNotFound":
            return ModelNotFound(
                f"{name.repository} has no revision {name.revision!r}", param="model"
            )
        if code == "GatedRepo":
            return SourceDenied(f"{name.repository} is gated: {self._remedy(name)}")
        knows_us = response.headers.get("X-Error-Message", "") != _WRONG_TOKEN
        if code == "RepoNotFound" or (status == 401 and knows_us):
            # The hub says the same of private repositories.
            if token is None and status == 401:
                return SourceDenied(
                    f"{name.repository} does not exist or is private; for a private one"
                    f" {_TOKEN} of an account that may read it"
                )
            return ModelNotFound(f"the hub has no {name.repository}", param="model")
        kind = SourceBusy if status in BUSY else SourceFailure
        return kind(
            f"the hub answered {status} for the list of files",
            retry_after=retry_after(response.headers),
        )


async def _start_of(remote: Remote) -> bytes:
    """Fetch the first bytes of a file."""
    data = b""
    async with remote.open({"Range": f"bytes=0-{START_BYTES - 1}"}) as response:
        async for piece in response.content.iter_any():
            data += piece
            if len(data) >= START_BYTES:  # also of a server that knows no ranges
                break
    return data


def _tag_of(name: HubName, file: str) -> str | None:
    """What a pull of one file of a repository is called, None where nothing can be called so: a
    repository may have files of any name.
    """
    try:
        tag = HubName.parse(f"{HOST}/{name.repository}:{file}").reference
    except InvalidReference:
        return None
    return str(tag) if tag.tag == file else None  # and not what stands before a revision


def _model_name(selection: Selection) -> str:
    return selection.weights[0].path.rpartition("/")[2]


def _bearer(token: str | None) -> Secrets:
    async def secrets(refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
        if refused is not None:
            return None
        return {"Authorization": f"Bearer {token}"} if token else {}

    return secrets


def _memory_bytes(host: Host) -> int:
    """The bytes that a model may take: of all GPUs together, or RAM if that is more.  Blocks."""
    devices = host.devices()
    gpus = sum(device.total_bytes for device in devices if device.kind == "gpu")
    return max([gpus, *(device.total_bytes for device in devices if device.kind == "ram")])
