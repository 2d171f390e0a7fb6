"""The way of a model into the store: an offer, a transfer for each file, and one commit.

Two pulls of one thing are one job.  Two jobs that need one file take turns: each locks all its
files, in one order for everybody, until it has committed or failed; the second then finds the blob
in the store, or goes on with the part that the first one left.  Credentials stay with the job that
they came with.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from runnerd import threads
from runnerd.durable import disk_errors
from runnerd.errors import (
    InvalidModelFile,
    InvalidReference,
    NotFound,
    NotSupported,
    Overloaded,
    RunnerdError,
)
from runnerd.models.catalog import Model
from runnerd.models.digest import Digest
from runnerd.models.disk_space import allocated_bytes
from runnerd.models.intake import Fetched, Pending
from runnerd.models.layout import STORE
from runnerd.models.modelpack_writing import Form
from runnerd.models.pages import model_of_page
from runnerd.models.parts import Part
from runnerd.models.reference import Reference
from runnerd.models.store import Store
from runnerd.outbound.client import Outbound
from runnerd.pulls.asker import STRANGER, Asker, FindLogin, no_login
from runnerd.pulls.credentials import DockerCredentials
from runnerd.pulls.file_locks import FileLocks
from runnerd.pulls.hub import HubSource, is_hub
from runnerd.pulls.hub_card import HOST
from runnerd.pulls.offer import Offer, OfferedFile, layer_id
from runnerd.pulls.published import Published
from runnerd.pulls.pushing import Push
from runnerd.pulls.registry import RegistrySource, read_config
from runnerd.pulls.retrying import persistently
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.source import Source, SourceContext
from runnerd.pulls.transfer import Transfer
from runnerd.pulls.transfer_tasks import Kind, Subscription, TransferTask
from runnerd.pulls.weblink import WebSource, is_url, shown
from runnerd.resources import Host
from runnerd.units import binary_size

log = logging.getLogger(__name__)

AT_ONCE = 3  # pulls; more would only share the line, and every one holds space

Work = Callable[[TransferTask], Coroutine[Any, Any, Model]]


class Drafted(Protocol):
    """Lets a model be loaded with the one that drafts for it; says what came of it."""

    async def __call__(self, model: Model, draft: Model, *, new: bool) -> str:
        """`new`: the draft was not here before."""
        ...


KeepPublished = Callable[[Model, str, Published], Awaitable[None]]
"""Keeps what a source says of a model that was pulled under a tag, "" for none."""

_OLLAMAS = ("ollama.com", "registry.ollama.ai")
_SHARED_BYTES = 4 * 2**20  # smaller files are not worth waiting for another pull
_MOST_JOBS = 64  # also those that wait: whoever may pull must not fill the memory


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What somebody wants: a model of a source, under the tag that was said, or the source's own;
    of a push the form in which the model is written.  `drafts`: with the model that drafts for it.

    Equal ones share a transfer.
    """

    source: Source
    said_tag: str | None = None
    form: Form = "docker"
    drafts: bool = False

    @property
    def tag(self) -> str | None:
        """The tag that the model gets, None for what is named by a digest only."""
        return self.said_tag or self.source.tag


class Pulls:
    """All pulls and pushes of the daemon.  `close` ends them; what has arrived stays."""

    def __init__(
        self,
        store: Store,
        http: Outbound,
        settings: Callable[[], PullSettings],
        credentials: DockerCredentials | None = None,
        *,
        host: Host,
        logins: FindLogin = no_login,
    ) -> None:
        self.store = store
        self.http = http
        self._settings = settings
        self._logins = logins
        self._context = SourceContext(http, settings, credentials or DockerCredentials(), host)
        self._jobs: dict[str, TransferTask] = {}
        self._by_request: dict[tuple[Kind, PullRequest], TransferTask] = {}
        self.changed: Callable[[TransferTask], None] = lambda job: None  # told of begins and ends
        self.drafted: Drafted = _not_used
        self.keep_published: KeepPublished | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._turns = FileLocks()

    def pull(
        self,
        reference: str,
        *,
        token: str | None = None,
        revision: str | None = None,
        sha256: str | None = None,
        tag: str | None = None,
        drafts: bool = False,
        asker: Asker = STRANGER,
    ) -> Subscription:
        """Fetch a model, or follow the pull that already does; it goes on without its followers.

        `reference` is what `docker model pull` takes, `hf.co/org/repo[@revision][:quant]`, or an
        http(s) URL of a GGUF file.  With `drafts` a model that drafts for it comes along, and it is
        loaded with that (see `drafted`).  `asker` says whose logins count.  Raises
        errors.InvalidReference at once; everything else is raised by the iteration.
        """
        digest = Digest(sha256.removeprefix("sha256:").lower()) if sha256 else None
        said_tag = None if tag is None else str(Reference.parse(tag))
        source = parse_source(
            reference, token=token, revision=revision, digest=digest, for_owner=asker.is_owner
        )
        request = PullRequest(self._shown_by(source, asker), said_tag, drafts=drafts)
        return self._follow("pull", request, lambda job: self._pull(job, request))

    async def offer(self, reference: str, *, asker: Asker = STRANGER) -> Offer:
        """What a source offers under a name, without pulling it.  Raises as a pull does."""
        source = self._shown_by(parse_source(reference, for_owner=asker.is_owner), asker)
        return await source.offer(self._context)

    async def look(self, reference: str, *, asker: Asker = STRANGER) -> dict[str, object]:
        """What a source says of a model, as the API shows one, without pulling it.

        The id is empty where only a pull can tell it.  Raises as a pull does.
        """
        offer = await self.offer(reference, asker=asker)
        size = binary_size(sum(file.size or 0 for file in offer.files))
        if offer.manifest is None:
            return {"id": "", "created": 0, "config": {"format": "gguf", "size": size}}
        config = await read_config(offer.files[0])
        return {"id": str(Digest.of(offer.manifest)), "created": 0, "config": config}

    def push(
        self,
        name: str,
        *,
        token: str | None = None,
        asker: Asker = STRANGER,
        form: Form = "docker",
    ) -> Subscription:
        """Send a model to the registry that `name` says, or follow the push that already does.

        Raises errors.InvalidReference, ModelNotFound and NotSupported at once; everything else is
        raised by the iteration.
        """
        reference = Reference.parse(name)
        self.store.get(name)
        if not reference.tag or reference.digest is not None:
            raise InvalidReference("a push needs a tag to push to, not a digest")
        if reference.registry == HOST:
            raise NotSupported("models are pushed to registries; the hub takes uploads of its own")
        if reference.registry in _OLLAMAS:
            raise NotSupported(
                "ollama.com takes models from its own signed-in program only; tag the model for"
                " another registry (`runnerd tag MODEL HOST/NAME`) and push that"
            )
        source = RegistrySource(str(reference), reference, token, asker.is_owner)
        source = source.shown_by(asker, self._logins, self._settings())
        request = PullRequest(source, form=form)
        return self._follow("push", request, lambda job: self._push(job, source, form))

    def active(self) -> list[TransferTask]:
        """Return the jobs that are under way, the oldest first."""
        return list(self._jobs.values())

    def cancel(self, id: str) -> TransferTask:
        """Ask a job to end.  Raises errors.NotFound."""
        job = self._jobs.get(id)
        if job is None:
            raise NotFound(f"no pull or push {id[:40]!r} is under way; `runnerd pulls` lists them")
        job.cancel()
        return job

    def fetching(self, reference: str) -> TransferTask | None:
        """Return the pull that will bring what `reference` names, None where there is none."""
        try:
            wanted = str(Reference.parse(model_of_page(reference))).lower()
        except InvalidReference:
            return None
        for (kind, request), job in self._by_request.items():
            if kind == "pull" and wanted == (request.tag or "").lower():
                return job
        return None

    async def close(self) -> None:
        """End every job and wait for it; a second call does nothing."""
        jobs = self.active()
        for job in jobs:
            job.cancel("the daemon stops; what has arrived stays, so ask again when it is back")
        for job in jobs:
            await job.wait_ended()

    def _follow(self, kind: Kind, request: PullRequest, work: Work) -> Subscription:
        job = self._by_request.get((kind, request))
        if job is None and len(self._jobs) >= _MOST_JOBS:
            raise Overloaded("too many pulls are under way; come back later", retry_after=60)
        if job is None:
            job = TransferTask(kind, shown(request.source.text))
            self._jobs[job.id] = self._by_request[kind, request] = job
            started = job

            def ended() -> None:
                self._jobs.pop(started.id, None)
                self._by_request.pop((kind, request), None)
                self.changed(started)

            job.start(lambda: work(started), ended)
            self.changed(job)
        return Subscription(job)

    def _shown_by(self, source: Source, asker: Asker) -> Source:
        """A source with the own login of who asks, if there is one for it."""
        if isinstance(source, HubSource | RegistrySource):
            return source.shown_by(asker, self._logins, self._settings())
        return source

    # one job

    async def _push(self, job: TransferTask, source: RegistrySource, form: Form) -> Model:
        model = self.store.get(source.text)
        registry = source.registry(self._context, "pull,push")
        return await Push(self.http, self.store, registry).run(job, model, form)

    async def _pull(self, job: TransferTask, request: PullRequest) -> Model:
        if self._slots.locked():
            job.say("Waiting for other pulls")
        async with self._slots:
            with disk_errors(STORE):
                await threads.run(self.store.room.check_writable)
                offer = await persistently(lambda: request.source.offer(self._context), job.say)
                for message in offer.news:
                    job.say(message)
                draft, job.total = offer.draft, offer.size
                if draft is not None:
                    job.say(_about(draft, taken=request.drafts))
                if draft is None or not request.drafts:
                    return await self._take(job, offer, request.tag)
                job.total += draft.size
                model = await self._take(job, offer, request.tag)
                await self._take_draft(job, model, draft)
                return model

    async def _take_draft(self, job: TransferTask, model: Model, offer: Offer) -> None:
        """Fetch what drafts for a model, and let that be loaded with it; it can do without."""
        known = {each.id for each in self.store.list()}
        draft: Model | None = None
        try:
            draft = await self._take(job, offer, offer.tag)
            said = await self.drafted(model, draft, new=draft.id not in known)
        except RunnerdError as error:
            said = f"The model is loaded without {offer.name}: {error.message}"
            if draft is not None and draft.id not in known:
                said += f"; `runnerd rm {draft.name}` removes it"
        job.say(said)

    async def _take(self, job: TransferTask, offer: Offer, tag: str | None) -> Model:
        """Fetch the files of an offer and make them a model."""
        keys = {_key(file, job.reference): file for file in offer.files}
        job.names |= {layer_id(file): file.name for file in offer.files}
        async with AsyncExitStack() as stack:
            for key in sorted(keys):
                await stack.enter_async_context(self._turns.take(key, layer_id(keys[key]), job))
            present = {}
            for key, file in keys.items():
                present[key] = await self._claim(stack, file)
            await threads.run(self._check_space, keys, present)
            parts: list[Part] = []
            try:
                pendings = {}
                for key, file in keys.items():
                    pendings[key] = present[key] or await self._fetch(job, key, file, parts)
                    job.progressed(layer_id(file), pendings[key].size, pendings[key].size)
                fetched = [
                    Fetched(file.name, file.media_type, pendings[_key(file, job.reference)])
                    for file in offer.files
                ]
                model = await threads.run(
                    self.store.entrance.accept, fetched, manifest=offer.manifest, tag=tag
                )
                await threads.run_to_end(_remove, parts)
            except InvalidModelFile:
                await threads.run_to_end(_remove, parts)  # fetched right, and of no use
                raise
            finally:
                await threads.run_to_end(_close, parts)
        log.info("pulled %s (%s)", job.reference, model.id.short)
        if offer.published is not None and self.keep_published is not None:
            await self.keep_published(model, tag or "", offer.published)
        return model

    async def _claim(self, stack: AsyncExitStack, file: OfferedFile) -> Pending | None:
        digest = file.digest
        if digest is None:
            return None
        claims = self.store.claims
        found = await threads.run_or_undo(
            lambda: claims.claim(digest), undo=lambda _: claims.disclaim(digest)
        )
        stack.push_async_callback(threads.run_to_end, claims.disclaim, digest)
        return found if found and file.size in (None, found.size) else None

    async def _fetch(
        self, job: TransferTask, key: Digest, file: OfferedFile, parts: list[Part]
    ) -> Pending:
        job.moved = True
        part = self.store.entrance.part(key)
        parts.append(part)
        await threads.run(part.open, file.size)

        def report() -> None:
            job.progressed(layer_id(file), part.size or 0, part.received)

        workers = self._settings().workers
        return await Transfer(file, part, workers=workers, report=report, say=job.say).run()

    def _check_space(
        self, files: dict[Digest, OfferedFile], present: dict[Digest, Pending | None]
    ) -> None:
        """Raise errors.InsufficientStorage before the work where it is sure to fail."""
        needed = 0
        for key, file in files.items():
            if present[key] is None:
                needed += max(
                    0, (file.size or 0) - allocated_bytes(self.store.entrance.part(key).path)
                )
        if needed:
            self.store.room.check_space(needed)


async def _not_used(model: Model, draft: Model, *, new: bool) -> str:
    return f"{draft.name} is here; `speculative` lets {model.name} be loaded with it"


def _about(draft: Offer, *, taken: bool) -> str:
    """What people are told of a draft model that there is."""
    size = binary_size(draft.size)
    if taken:
        return f"With {draft.name} (draft model, {size}); --no-draft leaves it out"
    return f"Not taken: {draft.name} (draft model, {size}): `runnerd pull {draft.tag}`"


def _remove(parts: Sequence[Part]) -> None:
    for part in parts:
        part.remove()


def _close(parts: Sequence[Part]) -> None:
    for part in parts:
        part.close()


def _key(file: OfferedFile, reference: str) -> Digest:
    """Return the key of a file's part; large files of one content share one."""
    if file.digest is None:
        return Digest.of(str(file.remote.url).encode())
    if (file.size or _SHARED_BYTES) >= _SHARED_BYTES:
        return file.digest
    return Digest(hashlib.sha256(f"{reference}\n{file.digest}".encode()).hexdigest())


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
