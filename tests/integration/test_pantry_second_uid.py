"""A program of another user of this host, at Pantry's socket: from registering to a bare model."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.fileserver import serving
from tests.support.pantry import entry, may
from tests.support.pantry_daemon import PantryDaemon, pantry_daemon
from tests.support.strangers import NOBODY, ask_as, needs_root
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.engine, needs_root()]

OPEN = 0o711


@pytest.fixture
def bare() -> Iterator[Path]:
    """Where bare models lie, so that others can enter it."""
    with tempfile.TemporaryDirectory(prefix="bare") as folder:
        Path(folder).chmod(OPEN)
        yield Path(folder) / "models"


@pytest.fixture
def pantry(tmp_path: Path, bare: Path) -> Iterator[PantryDaemon]:
    with pantry_daemon(tmp_path, {"RUNNERD_PANTRY__BARE_MODELS": str(bare)}) as pantry:
        Path(pantry.targets["unix"]).parent.chmod(OPEN)
        yield pantry


class Program:
    """One that runs with another uid, in no group."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._who: dict[str, str] = {}

    def asked(self, name: str, **said: Any) -> tuple[int, str]:
        """A call's status and body."""
        found = ask_as(
            NOBODY,
            self._socket,
            "POST",
            f"/{name}",
            headers={"Content-Type": "application/json"},
            body=json.dumps({**self._who, **said}),
        )
        return found.status, found.text

    def call(self, name: str, **said: Any) -> Any:
        status, text = self.asked(name, **said)
        assert status == 200, text
        return json.loads(text)

    def register(self, name: str) -> None:
        found = self.call("register_user", user_name=name)
        self._who = {"user_id": found["id"], "api_key": found["api_key"]}


def test_register_approval_use(pantry: PantryDaemon, tmp_path: Path) -> None:
    """It may nothing until the owner has said so, and then what was said."""
    gguf = tmp_path / "tiny.gguf"
    tiny.write_completion_model(gguf, context_length=512)
    program = Program(Path(pantry.targets["unix"]))
    program.register("another's program")
    status, text = program.asked("get_available_llms")
    assert (status, text[:21]) == (401, "Incorrect Permissions")

    wanted = may("view_llms", "download_llm", "load_llm", "session", "bare_model")
    asked = program.call("request_permissions", requested_permissions=wanted)
    assert program.call("get_request_status", request_id=asked["id"])["complete"] is False
    pantry.decide(asked, "accept")
    told = program.call("get_request_status", request_id=asked["id"])
    assert (told["complete"], told["accepted"]) == (True, True)

    with serving(gguf.read_bytes()) as server:
        uuid = program.call("download_llm", llm_registry_entry=entry(server.url()))

        def here() -> bool:
            found = program.call("get_llm_status", llm_id=uuid)
            return bool(found["download_progress"] >= 100)

        wait_for(here, "the download")
    assert program.call("load_llm", llm_id=uuid)["llm_info"]["running"] is True
    session = program.call("create_session_id", llm_id=uuid, user_session_parameters={})
    said = {"session_id": session["session_id"], "llm_uuid": uuid, "prompt": "one"}
    status, text = program.asked(
        "prompt_session_stream", **said, parameters={"max_tokens": 3, "temperature": 0.5}
    )
    events = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]
    assert (status, events[-1]["event"]["type"]) == (200, "PromptCompletion")

    path = program.call("bare_model", llm_id=uuid)["path"]
    read = subprocess.run(
        ["head", "-c4", path], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True
    )
    assert read.stdout == b"GGUF"
    for command in (["tee", path], ["rm", "-f", path], ["ls", str(Path(path).parents[1])]):
        tried = subprocess.run(
            command, user=NOBODY, group=NOBODY, extra_groups=[], input=b"x", capture_output=True
        )
        assert tried.returncode != 0, command
    assert Path(path).read_bytes() == gguf.read_bytes()

    assert program.asked("unload_llm", llm_id=uuid)[0] == 401  # that was not asked for
