"""`runnerd catalog`, and links of Pantry's, against a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.llms.entry import parse_entry
from runnerd.llms.links import link_of
from tests.integration.test_user_commands import document, runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer
from tests.support.pantry import entry


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, server: FileServer, gguf: Path
) -> Iterator[DaemonProcess]:
    settings = {"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}
    with running(tmp_path_factory.mktemp("daemon"), env=settings) as daemon:
        daemon.import_model(gguf / "other.gguf", "other")
        daemon.import_model(gguf / "embed.gguf", "embed")
        yield daemon


def test_a_model_of_which_nobody_said_anything(daemon: DaemonProcess) -> None:
    """Its header speaks for it; what the owner says goes before that, until it is taken back."""
    found = document(daemon, "catalog", "show", "other")
    assert found["said"] is False
    assert found["entry"]["name"] == "other"
    assert found["entry"]["familyId"] == "llama"
    assert found["entry"]["connectorType"] == "llmrs"
    assert set(found["entry"]["capabilities"].values()) == {-1}

    said = document(
        daemon, "catalog", "edit", "other", "license=MIT", 'capabilities={"coding": 4}',
        'sessionParameters={"system_prompt": "Be brief."}',
    )  # fmt: skip
    assert said["uuid"] == found["uuid"]
    assert said["entry"] == found["entry"] | {
        "license": "MIT",
        "capabilities": {"coding": 4},
        "sessionParameters": {"system_prompt": "Be brief."},
    }
    assert document(daemon, "catalog", "show", said["uuid"]) == said
    status, out, _ = runnerd(daemon, "catalog")
    assert status == 0
    assert out.splitlines()[1].split() == ["other", "other", "llama", "coding=4", "MIT"]
    assert document(daemon, "catalog", "rm", "other") == {"removed": "other"}
    assert document(daemon, "catalog", "show", "other") == found


def test_the_catalogue(daemon: DaemonProcess, server: FileServer, tmp_path: Path) -> None:
    """Entries of an index file are listed, changed, pulled by their links, and removed."""
    tiny = entry(server.url(), id="tiny-listed")
    unnamed = {name: value for name, value in tiny.items() if name != "id"}
    index = {"version": "1", "name": "ours", "models": {"tiny-listed": tiny, "unnamed": unnamed}}
    path = tmp_path / "index.json"
    path.write_text(json.dumps(index))
    assert document(daemon, "catalog", "add", str(path)) == {"listed": ["tiny-listed", "unnamed"]}
    listed = {each["id"]: each for each in document(daemon, "catalog", "list")}
    assert {"tiny-listed", "unnamed"} <= set(listed)
    assert listed["unnamed"]["model"] is None
    found = document(daemon, "catalog", "edit", "unnamed", "license=none at all")
    assert found["entry"]["license"] == "none at all"
    shown = daemon.http.get("/runnerd/catalog/index.json").json()
    assert shown["models"]["tiny-listed"] == tiny

    status, out, complaint = runnerd(daemon, "catalog", "pull", "tiny-listed")
    assert status == 0, complaint
    assert "Model pulled successfully" in out
    here = document(daemon, "catalog", "show", "tiny-listed")
    assert here["model"].startswith("pantry/tiny-listed:")
    assert here["entry"] == tiny
    status, _, complaint = runnerd(daemon, "catalog", "rm", "tiny-listed")
    assert (status, here["model"] in complaint) == (1, True)
    assert runnerd(daemon, "rm", here["model"])[0] == 0
    assert document(daemon, "catalog", "show", "tiny-listed")["model"] is None
    for name in ("tiny-listed", "unnamed"):
        assert document(daemon, "catalog", "rm", name) == {"removed": name}
    assert runnerd(daemon, "catalog", "show", "unnamed")[0] == 1


def test_a_link(daemon: DaemonProcess, server: FileServer) -> None:
    """`runnerd pull pantry://download/...` brings model and entry."""
    tiny = entry(server.url(), id="by link")
    link = link_of(parse_entry(json.dumps(tiny)))
    model = document(daemon, "pull", link)
    (tag,) = model["tags"]
    assert tag.startswith("pantry/by-link:")
    found = document(daemon, "catalog", "show", tag)
    assert (found["id"], found["link"]) == ("by link", link)
    assert found["entry"] == tiny
    runnerd(daemon, "rm", tag)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("pantry://debug/e30=", "only pantry://download/"),
        ("pantry://download/%%%", "cannot be read"),
        ("pantry://download/e30=", "not a registry entry"),
    ],
)
def test_links_that_name_nothing(daemon: DaemonProcess, link: str, words: str) -> None:
    """They are refused, and say why."""
    status, _, complaint = runnerd(daemon, "pull", link)
    assert (status, words in complaint) == (1, True), complaint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("edit", "other", "licence=MIT"), "no field 'licence'"),
        (("edit", "other", "tags=one"), "not a registry entry"),
        (("edit", "other", "license"), "write FIELD=VALUE"),
        (("show", "embed"), "completes no text"),
        (("show", "nothing"), "no model and no entry"),
        (("add", "/nowhere/index.json"), "cannot read"),
    ],
)
def test_what_cannot_be(daemon: DaemonProcess, arguments: tuple[str, ...], words: str) -> None:
    """Each mistake is named."""
    status, _, complaint = runnerd(daemon, "catalog", *arguments)
    assert (status, words in complaint) == (1, True), complaint
