"""Models that draft for others come along with every kind of pull, for who may have that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.llms.entry import parse_entry
from runnerd.llms.links import link_of
from runnerd.models import tiny
from tests.integration.test_cli import runnerd
from tests.integration.test_pulls import events
from tests.support.daemon import DaemonProcess, running
from tests.support.hub import HubServer, running_hub
from tests.support.members import Join, Member, joining
from tests.support.pantry import PantryClient, entry
from tests.support.waiting import wait_for

REPOSITORY = "hf.co/org/Tiny-GGUF"
MODEL = f"{REPOSITORY}:Q4_K_M"
DRAFT = "mtp-m-Q8_0.gguf"
DRAFT_TAG = f"huggingface.co/org/tiny-gguf:{DRAFT}"
SEEDS = itertools.count(1)


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with running_hub({}) as hub:
        yield hub


@pytest.fixture(autouse=True)
def files(hub: HubServer, tmp_path: Path) -> None:
    """A model and one that drafts for it, which nobody has pulled before."""
    hub.files = {}
    for name in ("m-Q4_K_M.gguf", DRAFT):
        tiny.write_completion_model(tmp_path / name, seed=next(SEEDS))
        hub.files[name] = (tmp_path / name).read_bytes()
    hub.files["m-Q4_K_M.gguf"] += bytes(4096)  # the larger one; behind the tensors lies nothing


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hub: HubServer) -> Iterator[DaemonProcess]:
    settings = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_AUTO_PULL": "true",
    }
    with running(tmp_path_factory.mktemp("daemon"), env=settings) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def purged(daemon: DaemonProcess) -> Iterator[None]:
    """Nothing is left of a test but the users' names."""
    yield
    daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()
    daemon.http.delete("/models/purge").raise_for_status()


@pytest.fixture
def join(daemon: DaemonProcess) -> Iterator[Join]:
    """Add users, until the end of the test."""
    with joining(daemon) as join:
        yield join


def drafted_by(daemon: DaemonProcess, model: str = MODEL) -> str | None:
    """The draft model that a model is loaded with, which is here then."""
    [shown] = daemon.http.get("/engines/_configure", params={"model": model}).json() or [{}]
    found: dict[str, Any] = shown.get("Config", {}).get("speculative") or {}
    name: str | None = found.get("draft_model")
    assert (name is not None) == is_here(daemon)
    return name


def is_here(daemon: DaemonProcess) -> bool:
    return daemon.http.get(f"/models/{DRAFT_TAG}").status_code == 200


def by_pull(daemon: DaemonProcess) -> None:
    lines = events(daemon.http.post("/models/create", json={"from": MODEL}))
    assert lines[-1]["type"] == "success", lines[-1]


def by_ollama(daemon: DaemonProcess) -> None:
    response = daemon.http.post("/api/pull", json={"model": MODEL})
    assert json.loads(response.text.splitlines()[-1]) == {"status": "success"}, response.text


def by_pantry(daemon: DaemonProcess) -> None:
    """As a program that the owner lets do everything."""
    member = Member(daemon, "program", may=["superuser"])
    with PantryClient(daemon.address, member.id, member.key) as client:
        uuid = client.uuid("download_llm", llm_registry_entry=entry(MODEL))

        def whole() -> bool:
            return bool(client.status("get_llm_status", llm_id=uuid)["download_progress"] >= 100)

        wait_for(whole, "the download")
    member.http.close()
    member.remove()


def by_link(daemon: DaemonProcess) -> None:
    link = link_of(parse_entry(json.dumps(entry(MODEL)).encode()))
    lines = events(daemon.http.post("/models/create", json={"from": link}))
    assert lines[-1]["type"] == "success", lines[-1]


WAYS = [by_pull, by_ollama, by_pantry, by_link]


@pytest.mark.parametrize("pull", WAYS)
def test_it_comes_along(daemon: DaemonProcess, pull: Callable[[DaemonProcess], None]) -> None:
    """Whatever the way of asking, the model is loaded with it from then on."""
    pull(daemon)
    assert drafted_by(daemon) == DRAFT_TAG


@pytest.mark.engine
def test_with_a_request_for_a_missing_model(daemon: DaemonProcess) -> None:
    """The request that begins the pull is answered with its help already."""
    said = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 16,
    }
    response = daemon.http.post("/v1/chat/completions", json=said)
    assert response.status_code == 200, response.text
    assert response.json()["timings"]["draft_n"] > 0
    assert drafted_by(daemon) == DRAFT_TAG


def accepted(daemon: DaemonProcess, member: Member) -> str:
    """The path of a download that a user has asked for and the owner accepts."""
    path = "/runnerd/approvals"
    asked = member.http.post(path, json={"type": "download", "model": MODEL}).json()
    daemon.http.post(f"{path}/{asked['id']}/accept").raise_for_status()
    return f"{path}/{asked['id']}"


def finish(daemon: DaemonProcess, path: str) -> None:
    """Wait until what was accepted is done."""

    def now() -> dict[str, Any]:
        found: dict[str, Any] = daemon.http.get(path).json()
        return found

    wait_for(lambda: not now()["working"], "the download")
    assert now()["accepted"], now()


def test_what_an_owner_has_accepted(daemon: DaemonProcess, join: Join) -> None:
    """It is as the owner's own pull."""
    ann = join("ann", may=["request_download"], models=["hf.co/org/*"])
    finish(daemon, accepted(daemon, ann))
    assert drafted_by(daemon) == DRAFT_TAG


def test_what_was_not_granted(daemon: DaemonProcess, join: Join) -> None:
    """Who asked the owner for one model gets no other one that its grants do not have."""
    ann = join("ann", may=["request_download"], models=[MODEL])
    finish(daemon, accepted(daemon, ann))
    assert drafted_by(daemon) is None


def test_who_may_only_download(daemon: DaemonProcess, join: Join) -> None:
    """How models are loaded is not theirs to say: the model comes alone, and they are told how to
    get the other one; in each of the ways.
    """
    ann = join("ann", may=["download_llm", "view_llms", "session"])
    lines = events(ann.http.post("/models/create", json={"from": MODEL}))
    assert lines[-1]["type"] == "success", lines[-1]
    told = [line["message"] for line in lines if line["message"].startswith("Not taken")]
    assert told[0].startswith(f"Not taken: {DRAFT} (draft model")
    assert "for owners to say" in told[0]
    assert f"`runnerd pull {DRAFT_TAG}`" in told[0]
    assert drafted_by(daemon) is None
    assert ann.http.post("/api/pull", json={"model": MODEL}).text.endswith('"success"}\n')
    assert drafted_by(daemon) is None


def test_who_follows_a_pull(daemon: DaemonProcess, hub: HubServer, join: Join) -> None:
    """An owner who asks for what is on its way gets what its own pull would have brought."""
    ann = join("ann", may=["request_download"], models=[MODEL])
    server = hub.server
    server.behaviour.breaks, server.behaviour.stalls = 1, True
    asked = accepted(daemon, ann)
    wait_for(lambda: server.behaviour.breaks == 0, "the first file to be asked for")
    with daemon.http.stream("POST", "/models/create", json={"from": MODEL}) as response:
        lines = response.iter_lines()
        told = [json.loads(next(lines))]
        assert len(daemon.http.get("/models/pulls").json()) == 1
        server.release.set()
        told += map(json.loads, lines)
    assert told[-1]["type"] == "success", told[-1]
    drafts = [line["message"] for line in told if DRAFT in line["message"]]
    assert "none of the models that were granted" in drafts[0]
    assert drafts[1].startswith("With")
    assert drafted_by(daemon) == DRAFT_TAG
    finish(daemon, asked)


def test_what_is_made_of_another_model(daemon: DaemonProcess) -> None:
    """It is loaded in a way of its own: a model that is pulled to make it comes alone."""
    made = daemon.http.post("/api/create", json={"model": "made", "from": MODEL, "system": "x"})
    assert made.text.endswith('"success"}\n'), made.text
    assert drafted_by(daemon) is None


@pytest.mark.covers(
    "POST /models/create",
    "draft",
    note="ours; `false`: the draft model that lies in the repository stays there",
)
def test_who_wants_it_or_not(daemon: DaemonProcess) -> None:
    """A model comes with the one that drafts for it, and is loaded with that from then on, unless
    it is not wanted; what an owner has configured stays.
    """
    asked = {"from": MODEL, "tag": "drafted:1"}
    lines = events(daemon.http.post("/models/create", json=asked | {"draft": False}))
    assert lines[-1]["type"] == "success", lines[-1]
    assert any(f"Not taken: {DRAFT} (draft model" in line["message"] for line in lines)
    assert drafted_by(daemon, "drafted:1") is None
    lines = events(daemon.http.post("/models/create", json=asked))
    assert lines[-1]["type"] == "success", lines[-1]
    told = "\n".join(line["message"] for line in lines)
    assert f"With {DRAFT} (draft model" in told
    assert "which drafts for it" in told
    assert "--unset speculative" in told
    assert drafted_by(daemon, "drafted:1") == DRAFT_TAG
    own = {"draft_model": "drafted:1", "num_tokens": 2}
    daemon.http.post("/models/drafted:1/configure", json={"speculative": own}).raise_for_status()
    lines = events(daemon.http.post("/models/create", json=asked))
    assert any("as was configured" in line["message"] for line in lines)
    assert drafted_by(daemon, "drafted:1") == "drafted:1"
    assert daemon.http.post("/models/create", json=asked | {"draft": 1}).status_code == 400


def test_a_draft_that_came_along_goes_with_its_last_model(
    daemon: DaemonProcess, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` names it.  One with a name of its own, or that was here before, is its owner's."""
    asked = {"from": MODEL}
    before = {model["id"] for model in daemon.http.get("/models").json()}

    def pulled(tag: str) -> str:
        """Pull the model with its draft, and return what the draft is called."""
        lines = events(daemon.http.post("/models/create", json=asked | {"tag": tag}))
        assert lines[-1]["type"] == "success", lines[-1]
        draft = str(daemon.http.get(f"/models/{tag}").json()["runnerd"]["draft_model"])
        assert "mtp" in draft.lower()
        return draft

    def removed(name: str) -> list[str]:
        """What a removal has done."""
        done = daemon.http.delete(f"/models/{name}").raise_for_status().json()
        return [kind for entry in done for kind in entry]

    draft = pulled("gone:1")
    shown = " ".join(runnerd(daemon, "show", "gone:1")[1].split())
    with monkeypatch.context() as context:
        context.setenv("RUNNERD_KEY", join("ann").key)
        theirs = " ".join(runnerd(daemon, "show", "gone:1")[1].split())
    assert f"draft: {draft} runners:" in theirs  # to configure models is the owner's
    assert f"draft: {draft} (`runnerd configure gone:1 --unset speculative` ends that)" in shown
    assert removed("gone:1") == ["Untagged", "Deleted", "Untagged", "Deleted"]
    assert {model["id"] for model in daemon.http.get("/models").json()} == before
    pulled("gone:1")
    daemon.http.post(f"/models/{draft}/tag", params={"repo": "mine"}).raise_for_status()
    assert removed("gone:1") == ["Untagged", "Deleted"]
    assert removed("mine") == ["Untagged"]
    pulled("gone:1")  # the draft was here before
    assert removed("gone:1") == ["Untagged", "Deleted"]
    assert removed(draft) == ["Untagged", "Deleted"]


@pytest.mark.parametrize(
    "name",
    ["mtp-m (copy) Q8_0.gguf", f"mtp-{130 * 'm'}-Q8_0.gguf", "mtp-ü.gguf", "mtp-m@Q8_0.gguf"],
)
def test_a_name_that_no_model_can_have(daemon: DaemonProcess, hub: HubServer, name: str) -> None:
    """Repositories have files of any name; one keeps nobody from the model, nor takes its name."""
    hub.files[name] = hub.files.pop(DRAFT)
    lines = events(daemon.http.post("/models/create", json={"from": MODEL}))
    assert lines[-1]["type"] == "success", lines[-1]
    assert any(line["message"].startswith(f"Not taken: {name}") for line in lines)
    assert drafted_by(daemon) is None
    shown = daemon.http.get(f"/models/{MODEL}").json()
    assert shown["id"] == lines[-1]["model"]["id"]
