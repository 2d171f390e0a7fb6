"""runnerd.pulls.pulling: transfers that belong to nobody, and whom they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runnerd.access import owner_principal, user_principal
from runnerd.errors import (
    Conflict,
    InvalidReference,
    ModelNotFound,
    NotFound,
    NotSupported,
    Overloaded,
)
from runnerd.models.model import Model
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls import pulling
from runnerd.pulls.asker import Asker
from runnerd.pulls.pulling import Pulls
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.resources import Host
from tests.support.fileserver import answer_with
from tests.support.ggufs import smallest_model
from tests.support.hub import HubServer, running_hub
from tests.support.stores import add, opened, small
from tests.support.waiting import until

OWNER = Asker(owner_principal(0), is_owner=True)
ANN = Asker(user_principal("ann", "k"))
MODEL, DRAFT = "hf.co/org/Tiny-GGUF:Q4_K_M", "mtp-tiny-Q8_0.gguf"


class Drafts:
    """Lets owners have draft models."""

    def __init__(self) -> None:
        self.attached: list[tuple[str, str]] = []

    def check(self, asker: Asker, tag: str) -> None:
        if not asker.is_owner:
            raise Conflict("not for users")

    async def attach(self, model: Model, draft: Model, *, new: bool) -> str:
        self.attached.append((model.name, draft.name))
        return "attached"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    files = {"tiny-Q4_K_M.gguf": smallest_model() + bytes(4096)}
    files[DRAFT] = small(tmp_path / "draft", "d").read_bytes()
    with running_hub(files) as hub:
        yield hub


class Parts:
    def __init__(self, folder: Path, hub: HubServer) -> None:
        self.store = opened(folder / "models")
        self.http = Outbound(AllowedSources.parse(["127.0.0.1", "localhost"]))
        self.drafts = Drafts()
        settings = PullSettings(hub_endpoint=hub.endpoint)
        self.pulls = Pulls(
            self.store, self.http, lambda: settings, host=Host(), drafting=self.drafts
        )


@pytest.fixture
async def parts(tmp_path: Path, hub: HubServer) -> AsyncIterator[Parts]:
    parts = Parts(tmp_path, hub)
    yield parts
    hub.server.release.set()
    await parts.pulls.close()
    await parts.http.close()


def hold(hub: HubServer) -> None:
    """Let the first file not come."""
    hub.server.behaviour.breaks, hub.server.behaviour.stalls = 1, True


async def test_two_who_want_the_same_share_a_pull(parts: Parts, hub: HubServer) -> None:
    """It is the first one's, and it is told when it begins and when it has ended."""
    told: list[TransferTask] = []
    parts.pulls.changed = told.append
    hold(hub)
    first = parts.pulls.pull(MODEL, asker=OWNER)
    second = parts.pulls.pull("huggingface.co/org/Tiny-GGUF:Q4_K_M", asker=OWNER)
    assert second.job is first.job
    assert (first.began, second.began) == (True, False)
    assert first.job.owner == "uid 0"
    assert parts.pulls.active() == told == [first.job]
    assert parts.pulls.fetching("HF.co/org/tiny-gguf:q4_k_m") is first.job
    assert parts.pulls.fetching("hf.co/org/tiny-gguf") is None
    hub.server.release.set()
    model = await second.result()
    assert await first.result() is model
    assert parts.store.get(MODEL).id == model.id
    await until(lambda: parts.pulls.active() == [])
    assert told == [first.job, first.job]


async def test_others_tags_are_others_pulls(parts: Parts, hub: HubServer) -> None:
    """As is the pull of somebody who may use other logins."""
    hold(hub)
    jobs = {
        parts.pulls.pull(MODEL, asker=OWNER).job,
        parts.pulls.pull(MODEL, asker=ANN).job,
        parts.pulls.pull(MODEL, asker=OWNER, tag="other").job,
    }
    assert len(jobs) == 3


@pytest.mark.parametrize(
    ("asker", "wanted", "comes"), [(OWNER, True, True), (OWNER, False, False), (ANN, True, False)]
)
async def test_a_draft_model(parts: Parts, asker: Asker, wanted: bool, comes: bool) -> None:
    """It comes along, and is attached, where somebody wants it who may have it."""
    said: list[str] = []
    async for progress in (subscription := parts.pulls.pull(MODEL, drafts=wanted, asker=asker)):
        said.append(progress.message)
    draft = f"huggingface.co/org/tiny-gguf:{DRAFT}"
    model = subscription.model
    assert parts.drafts.attached == ([(model.name, draft)] if comes else [])
    assert ("attached" in said) == comes
    assert any(each.startswith(f"{'With' if comes else 'Not taken:'} {DRAFT}") for each in said)
    assert {each.name for each in parts.store.catalog.models()} == {model.name, *([draft] * comes)}


async def test_a_draft_that_cannot_be_had(parts: Parts, hub: HubServer) -> None:
    """The model comes without it, and whoever follows is told why."""
    hub.server.routes = {
        rf"/.*resolve/.*/{DRAFT}": answer_with(b"", 404),
        **hub.server.routes,
    }
    said: list[str] = []
    async for progress in (subscription := parts.pulls.pull(MODEL, asker=OWNER)):
        said.append(progress.message)
    assert [model.id for model in parts.store.catalog.models()] == [subscription.model.id]
    assert any(f"loaded without {DRAFT}: " in each for each in said)


async def test_cancelling(parts: Parts, hub: HubServer) -> None:
    """Followers are told; what is not under way cannot be ended."""
    hold(hub)
    subscription = parts.pulls.pull(MODEL, asker=OWNER)
    assert parts.pulls.cancel(subscription.job.id) is subscription.job
    with pytest.raises(Conflict, match="was cancelled"):
        await subscription.result()
    with pytest.raises(NotFound):
        parts.pulls.cancel(subscription.job.id)


async def test_closing(parts: Parts, hub: HubServer) -> None:
    """It ends all of them, and says so."""
    hold(hub)
    subscription = parts.pulls.pull(MODEL, asker=OWNER)
    await parts.pulls.close()
    with pytest.raises(Conflict, match="the daemon stops"):
        await subscription.result()
    await parts.pulls.close()


async def test_there_is_an_end_to_them(
    parts: Parts, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to those that wait; whoever follows one is no other one."""
    monkeypatch.setattr(pulling, "_MOST_JOBS", 2)
    hold(hub)
    for tag in ("one", "two"):
        parts.pulls.pull(MODEL, tag=tag, asker=OWNER)
    with pytest.raises(Overloaded):
        parts.pulls.pull(MODEL, tag="three", asker=OWNER)
    assert not parts.pulls.pull(MODEL, tag="two", asker=OWNER).began


async def test_looking(parts: Parts) -> None:
    """A source says what it has, and nothing comes."""
    offer = await parts.pulls.offer(MODEL, asker=OWNER)
    assert [file.name for file in offer.files] == ["tiny-Q4_K_M.gguf"]
    shown = await parts.pulls.look(MODEL, asker=OWNER)
    assert (shown["id"], shown["config"]) == ("", {"format": "gguf", "size": "4.17 KiB"})
    assert parts.store.catalog.models() == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("hf.co/org/small", NotSupported),
        ("registry.ollama.ai/library/small", NotSupported),
        (f"r.org/small@sha256:{'a' * 64}", (InvalidReference, ModelNotFound)),
        ("r.org/absent", ModelNotFound),
    ],
)
async def test_what_cannot_be_pushed(
    parts: Parts, tmp_path: Path, name: str, error: type[Exception]
) -> None:
    """It is said at once, before a registry is asked."""
    await add(
        parts.store,
        small(tmp_path / "small.gguf"),
        "hf.co/org/small",
        "registry.ollama.ai/library/small",
    )
    with pytest.raises(error):
        parts.pulls.push(name, asker=OWNER)
    assert parts.pulls.active() == []
