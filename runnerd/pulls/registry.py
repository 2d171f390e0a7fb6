"""OCI registries: Docker Hub, others, and Ollama's, which has the same protocol with other types.

A registry's responses are believed only as far as they can be checked: a manifest is bounded before
it is parsed and compared with the digest that was asked for, and every blob is held to the digest
in its manifest by the transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from runnerd.access.logins import Login
from runnerd.errors import InvalidModelFile, SourceFailure
from runnerd.models.digest import Digest
from runnerd.models.manifest import (
    ADAPTER_TYPE,
    GGUF_TYPE,
    LICENSE_TYPE,
    MANIFEST_TYPE,
    MMPROJ_TYPE,
    MOST_BYTES,
    MOST_LAYERS,
    Layer,
    parse_manifest,
)
from runnerd.models.modelfile import (
    GO_TEMPLATE_TYPE,
    MESSAGES_TYPE,
    PARAMETERS_TYPE,
    SYSTEM_TYPE,
)
from runnerd.models.modelpack import modelpack_config, modelpack_layers
from runnerd.models.reference import Reference
from runnerd.outbound.client import Outbound, read_capped
from runnerd.pulls.asker import Asker, FindLogin, OwnLogin
from runnerd.pulls.authorization import Authorization
from runnerd.pulls.credentials import CredentialSource, DockerCredentials
from runnerd.pulls.offer import Offer, OfferedFile, Remote, refusal
from runnerd.pulls.published import Published, asked, completed, of_manifest, of_packed
from runnerd.pulls.settings import PullSettings, RegistrySettings
from runnerd.pulls.source import SourceContext

_DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_OLLAMA_WEIGHTS = "application/vnd.ollama.image.model"
_OLLAMA_TYPES = {
    _OLLAMA_WEIGHTS: GGUF_TYPE,
    "application/vnd.ollama.image.projector": MMPROJ_TYPE,
    "application/vnd.ollama.image.license": LICENSE_TYPE,
    ADAPTER_TYPE: ADAPTER_TYPE,
    GO_TEMPLATE_TYPE: GO_TEMPLATE_TYPE,
    SYSTEM_TYPE: SYSTEM_TYPE,
    PARAMETERS_TYPE: PARAMETERS_TYPE,
    MESSAGES_TYPE: MESSAGES_TYPE,
}
_OLLAMA_HOSTS = ("registry.ollama.ai", "ollama.com")


class Registry:
    """One repository of one registry, as one client sees it."""

    def __init__(
        self,
        http: Outbound,
        settings: RegistrySettings,
        reference: Reference,
        *,
        credentials: CredentialSource | None,
        token: str | None = None,
        actions: str = "pull",
    ) -> None:
        host, repository = reference.registry or settings.default, reference.repository
        if host in _OLLAMA_HOSTS:
            host = _OLLAMA_HOSTS[0]
            repository = repository if "/" in repository else f"library/{repository}"
        self.host = host
        self.reference = reference
        scheme = "http" if host in settings.insecure else "https"
        self._users_own = not isinstance(credentials, DockerCredentials)
        self._base = URL(f"{scheme}://{host}/v2/{repository}/")
        self._http = http
        self.secrets = Authorization(
            http,
            host,
            f"repository:{repository}:{actions}",
            credentials=credentials,
            token=token,
        )

    @property
    def remedy(self) -> str:
        """Advice for who is refused by the registry: log in, or send a token."""
        if self._users_own:
            return (
                f"log in with `runnerd login {self.host}` and a user's key in RUNNERD_KEY, or send"
                " a token (bearer-token) that may do this"
            )
        return (
            f"log in as the daemon's user with `docker login {self.host}`, or send a token"
            " (bearer-token) that may do this"
        )

    def url(self, path: str) -> URL:
        """Return the address of something in the repository."""
        return self._base.join(URL(path))

    async def offer(self) -> Offer:
        """What the registry has under the reference.

        Raises errors.SourceDenied, ModelNotFound, InvalidModelFile, SourceFailure, SourceTimeout,
        Forbidden.
        """
        raw = await self._manifest()
        said, name = of_manifest(raw), self.reference.short_name
        if (layers := _ollama_layers(raw)) is not None:
            return Offer(tuple(map(self._file, layers)), name=name, published=said)
        if (packed := modelpack_layers(raw)) is not None:
            files = tuple(self._file(each.layer) for each in packed)
            more = await asked(self._packed(modelpack_config(raw)))
            return Offer(files, name=name, published=completed(said, more))
        files = tuple(map(self._file, parse_manifest(raw).blobs))
        return Offer(files, manifest=raw, name=name, published=said)

    async def _packed(self, config: Layer | None) -> Published | None:
        """What a ModelPack's config says of the model.  Raises as `Remote.open`."""
        return None if config is None else of_packed(await _read(self._file(config)))

    def _file(self, layer: Layer) -> OfferedFile:
        remote = Remote(
            self._http,
            self.url(f"blobs/{layer.digest}"),
            verified=True,
            secrets=self.secrets,
            remedy=self.remedy,
        )
        return OfferedFile(str(layer.digest), layer.media_type, remote, layer.digest, layer.size)

    async def _manifest(self) -> bytes:
        reference = self.reference
        wanted = reference.digest
        url = self.url(f"manifests/{wanted or reference.tag}")
        headers = {"Accept": f"{MANIFEST_TYPE}, {_DOCKER_MANIFEST_TYPE}"}
        secrets = await self.secrets(None) or {}
        raw = await self._get(url, headers, secrets)
        if wanted is not None and Digest.of(raw) != wanted:
            raise SourceFailure(f"{self.host} sent another manifest than {wanted}")
        return raw

    async def _get(
        self,
        url: URL,
        headers: Mapping[str, str],
        secrets: Mapping[str, str],
        *,
        again: bool = True,
    ) -> bytes:
        better: Mapping[str, str] | None = None
        async with self._http.request("GET", url, headers=headers, secrets=secrets) as response:
            if response.status == 401 and again:
                better = await self.secrets(response)
            if better is None:
                return await self._body(response)
        return await self._get(url, headers, better, again=False)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise refusal(response, f"the model {self.reference}", self.remedy)
        if (response.content_length or 0) > MOST_BYTES:
            raise InvalidModelFile(f"the manifest has more than {MOST_BYTES} bytes")
        return await read_capped(response, MOST_BYTES)


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """A model in a registry; `text` is how it was typed.  A `pulls.source.Source`."""

    text: str = field(compare=False)
    reference: Reference
    token: str | None = field(default=None, repr=False)
    for_owner: bool = False
    login: Login | None = None

    @classmethod
    def parse(cls, text: str, *, token: str | None, for_owner: bool = False) -> RegistrySource:
        """Read what `docker model pull` takes.  Raises errors.InvalidReference."""
        return cls(text, Reference.parse(text), token, for_owner)

    def shown_by(self, asker: Asker, find: FindLogin, settings: PullSettings) -> RegistrySource:
        """The same with the own login of who asks, where it has one there and sends no token."""
        if self.token is not None or asker.user_id is None:
            return self
        host = self.reference.registry or settings.registries.default
        return replace(self, login=find(asker.user_id, host))

    @property
    def tag(self) -> str | None:
        return str(replace(self.reference, digest=None)) if self.reference.tag else None

    def registry(self, context: SourceContext, actions: str = "pull") -> Registry:
        """The registry's side of the reference, for `pull` or `pull,push`."""
        settings = context.settings()
        host = self.reference.registry or settings.registries.default
        return Registry(
            context.http,
            settings.registries,
            self.reference,
            credentials=self._credentials(context, host),
            token=self.token,
            actions=actions,
        )

    def _credentials(self, context: SourceContext, host: str) -> CredentialSource | None:
        if self.login is not None:
            return OwnLogin(self.login)
        lent = context.settings().lends(host, self.for_owner)
        return context.credentials if lent else None

    async def offer(self, context: SourceContext) -> Offer:
        return await self.registry(context).offer()


class _About(msgspec.Struct):
    config: dict[str, Any]


async def read_config(file: OfferedFile) -> dict[str, Any]:
    """What the config blob of a model says about it.  Raises as `Remote.open`."""
    raw = await _read(file)
    try:
        return msgspec.json.decode(raw, type=_About).config
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModelFile(f"the model's config cannot be read: {error}") from error


async def _read(file: OfferedFile) -> bytes:
    """The content of a config.  Raises as `Remote.open`."""
    async with file.remote.open({}) as response:
        raw = await read_capped(response, MOST_BYTES)
    if file.digest is not None and Digest.of(raw) != file.digest:
        raise SourceFailure(f"{response.url.host} sent another config than the manifest lists")
    return raw


class _Entry(msgspec.Struct, rename="camel"):
    media_type: str
    size: int
    digest: str


class _Manifest(msgspec.Struct, rename="camel"):
    layers: list[_Entry]


def _ollama_layers(raw: bytes) -> list[Layer] | None:
    """Return the layers of an Ollama model, in our types, None for another kind of manifest."""
    try:
        found = msgspec.json.decode(raw, type=_Manifest).layers
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    ours = any(layer.media_type == GGUF_TYPE for layer in found)
    if ours or not any(layer.media_type in _OLLAMA_TYPES for layer in found):
        return None
    layers = [
        Layer(_OLLAMA_TYPES[layer.media_type], layer.size, Digest.parse(layer.digest))
        for layer in found
        if layer.media_type in _OLLAMA_TYPES and layer.size >= 0
    ]
    if len(layers) > MOST_LAYERS or not any(layer.media_type == GGUF_TYPE for layer in layers):
        raise InvalidModelFile("the model has no GGUF layer, or too many layers")
    return layers
