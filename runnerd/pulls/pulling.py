"""All pulls and pushes of the daemon, whoever asks for them and in whatever way.

Two pulls of one thing are one job, which everybody follows who wants it.  Credentials stay with the
job that they came with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from runnerd import threads
from runnerd.durable import disk_errors
from runnerd.errors import (
    InvalidReference,
    NotFound,
    NotSupported,
    Overloaded,
    RunnerdError,
)
from runnerd.models.digest import Digest
from runnerd.models.layout import STORE
from runnerd.models.model import Model
from runnerd.models.modelpack_writing import Form
from runnerd.models.pages import model_of_page
from runnerd.models.reference import Reference
from runnerd.models.store import Store
from runnerd.outbound.client import Outbound
from runnerd.pulls.asker import STRANGER, Asker, FindLogin, no_login
from runnerd.pulls.credentials import DockerCredentials
from runnerd.pulls.draft_choice import DraftChoice, Drafting, about
from runnerd.pulls.fetching import Fetching
from runnerd.pulls.hub import HubSource
from runnerd.pulls.hub_card import HOST
from runnerd.pulls.offer import Offer
from runnerd.pulls.pushing import Push
from runnerd.pulls.registry import RegistrySource, read_config
from runnerd.pulls.retrying import persistently
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.source import Source, SourceContext
from runnerd.pulls.source_parsing import parse_source
from runnerd.pulls.transfer_tasks import Kind, Subscription, TransferTask
from runnerd.pulls.weblink import shown
from runnerd.resources import Host
from runnerd.units import binary_size

AT_ONCE = 3  # pulls; more would only share the line, and every one holds space

Work = Callable[[TransferTask], Coroutine[Any, Any, Model]]

_OLLAMAS = ("ollama.com", "registry.ollama.ai")
_MOST_JOBS = 64  # also those that wait: whoever may pull must not fill the memory


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What somebody wants: a model of a source, under the tag that was said, or the source's own;
    of a push the form in which the model is written.

    Equal ones share a transfer.
    """

    source: Source
    said_tag: str | None = None
    form: Form = "docker"

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
        drafting: Drafting | None = None,
    ) -> None:
        """Without `drafting` no model comes with one that drafts for it."""
        self.store = store
        self.http = http
        self._settings = settings
        self._logins = logins
        self._context = SourceContext(http, settings, credentials or DockerCredentials(), host)
        self._jobs: dict[str, TransferTask] = {}
        self._by_request: dict[tuple[Kind, PullRequest], TransferTask] = {}
        self._drafting = drafting
        self._draft_choices: dict[str, DraftChoice] = {}  # by the pull's id
        self.changed: Callable[[TransferTask], None] = lambda job: None  # told of begins and ends
        self.files = Fetching(store, settings)
        self._slots = asyncio.Semaphore(AT_ONCE)

    def pull(
        self,
        reference: str,
        *,
        token: str | None = None,
        revision: str | None = None,
        sha256: str | None = None,
        tag: str | None = None,
        drafts: bool = True,
        asker: Asker = STRANGER,
    ) -> Subscription:
        """Fetch a model, or follow the pull that already does; it goes on without its followers.

        `reference` is what `docker model pull` takes, `hf.co/org/repo[@revision][:quant]`, or an
        http(s) URL of a GGUF file.  With `drafts` a model that drafts for it comes along where
        `asker` may have that (see `Drafting`), and it is loaded with it.  `asker` says whose pull
        it is and whose logins count, too.  Raises errors.InvalidReference and Overloaded at once;
        everything else is raised by the iteration.
        """
        digest = Digest(sha256.removeprefix("sha256:").lower()) if sha256 else None
        said_tag = None if tag is None else str(Reference.parse(tag))
        source = parse_source(
            reference, token=token, revision=revision, digest=digest, for_owner=asker.is_owner
        )
        request = PullRequest(self._shown_by(source, asker), said_tag)
        choice = DraftChoice(self._drafting)
        subscription = self._follow(
            "pull", request, asker, lambda job: self._pull(job, request, choice)
        )
        id = subscription.job.id
        if subscription.began:
            self._draft_choices[id] = choice
        if drafts:
            self._draft_choices[id].wanted_by(asker)
        return subscription

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
        return self._follow("push", request, asker, lambda job: self._push(job, source, form))

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

    def _follow(self, kind: Kind, request: PullRequest, asker: Asker, work: Work) -> Subscription:
        if (under_way := self._by_request.get((kind, request))) is not None:
            return Subscription(under_way)
        if len(self._jobs) >= _MOST_JOBS:
            raise Overloaded("too many pulls are under way; come back later", retry_after=60)
        job = TransferTask(kind, shown(request.source.text), asker.principal.id or None)
        self._jobs[job.id] = self._by_request[kind, request] = job

        def ended() -> None:
            self._jobs.pop(job.id, None)
            self._by_request.pop((kind, request), None)
            self._draft_choices.pop(job.id, None)
            self.changed(job)

        job.start(lambda: work(job), ended)
        self.changed(job)
        return Subscription(job, began=True)

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

    async def _pull(self, job: TransferTask, request: PullRequest, choice: DraftChoice) -> Model:
        if self._slots.locked():
            job.say("Waiting for other pulls")
        async with self._slots:
            with disk_errors(STORE):
                await threads.run(self.store.room.check_writable)
                offer = await persistently(lambda: request.source.offer(self._context), job.say)
                for message in offer.news:
                    job.say(message)
                job.total = offer.size
                if offer.draft is None:
                    return await self.files.fetch(job, offer, request.tag)
                return await self._with_draft(job, request, offer, offer.draft, choice)

    async def _with_draft(
        self,
        job: TransferTask,
        request: PullRequest,
        offer: Offer,
        draft: Offer,
        choice: DraftChoice,
    ) -> Model:
        """Fetch a model, and what drafts for it if that may be; the model can do without."""
        refused = choice.refusal(draft)
        job.say(about(draft, refused))
        job.total += 0 if refused else draft.size
        model = await self.files.fetch(job, offer, request.tag)
        # Meanwhile others may have asked for the same, or may do less than before.
        if (now := choice.refusal(draft)) != refused:
            job.say(about(draft, now))
            job.total = offer.size + (0 if now else draft.size)
        if not now:
            await self._take_draft(job, model, draft, choice)
        return model

    async def _take_draft(
        self, job: TransferTask, model: Model, offer: Offer, choice: DraftChoice
    ) -> None:
        """Fetch what drafts for a model, and let that be loaded with it; it can do without."""
        known = {each.id for each in self.store.list()}
        draft: Model | None = None
        try:
            draft = await self.files.fetch(job, offer, offer.tag)
            said = await choice.attach(model, draft, new=draft.id not in known)
        except RunnerdError as error:
            said = f"The model is loaded without {offer.name}: {error.message}"
            if draft is not None and draft.id not in known:
                said += f"; `runnerd rm {draft.name}` removes it"
        job.say(said)
