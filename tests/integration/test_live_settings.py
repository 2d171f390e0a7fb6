"""Every setting that SIGHUP is said to bring into force does: changed under a running daemon."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.config import RELOADABLE
from runnerd.models import tiny
from runnerd.models.part_journal import PIECE_BYTES
from tests.integration.test_pulls import events
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.hub import HubServer, running_hub
from tests.support.plain_http import NO_TLS
from tests.support.strangers import NOBODY, ask_as
from tests.support.waiting import SECONDS, wait_for
from tests.support.wire import Wire, post

pytestmark = pytest.mark.engine

_ENGINE = '[backends."llama.cpp"]\nthreads = 1\nmemory_reserve = 16\nstop_grace = 0.5\n'
LONG = {"prompt": "x", "max_tokens": 8000, "ignore_eos": True, "stream": True}


class Live:
    """A running daemon whose settings file the test changes."""

    def __init__(self, daemon: DaemonProcess, file: Path) -> None:
        self.daemon = daemon
        self.file = file
        self.folder = file.parent

    def set(self, **settings: object) -> None:
        """Let the file say these settings and no others."""
        self.file.write_text(written(settings))
        self.daemon.reload()

    def ask(self, model: str, **changes: object) -> httpx.Response:
        """Ask for a short completion with a client of its own."""
        with self.daemon.client() as client:
            question = {"model": model, "prompt": "x", "max_tokens": 1, **changes}
            return client.post("/v1/completions", json=question)

    def unload(self) -> None:
        self.daemon.http.post("/engines/unload", json={"all": True})

    def loaded(self) -> list[str]:
        """Return the models that have a runner."""
        runners = [runner for runner in self.daemon.ps() if runner["state"] != "failed"]
        return sorted(runner["model_name"] for runner in runners)

    @contextlib.contextmanager
    def asking(self, model: str) -> Iterator[None]:
        """Have one more long response under way, or waiting."""
        with Wire(self.daemon.socket) as wire:
            wire.send(post("/v1/completions", {**LONG, "model": model}))
            yield

    @contextlib.contextmanager
    def holding(self, model: str, many: int = 1) -> Iterator[None]:
        """Have so many long responses at a model's engine, which stands still and is the only one.

        So none of them ends meanwhile, nor loses its place because nobody reads it.
        """
        self.unload()
        wait_for(lambda: not self.daemon.engines(), "an empty memory")
        assert self.ask(model).status_code == 200
        [engine] = self.daemon.engines()
        engine.suspend()
        try:
            with contextlib.ExitStack() as stack:
                for _ in range(many):
                    stack.enter_context(self.asking(model))
                wait_for(lambda: self.daemon.ps()[0]["requests"] == many, "all to be at the engine")
                yield
        finally:
            engine.resume()


def written(settings: Mapping[str, object]) -> str:
    """Return settings as TOML, before the engine's own table."""

    def value(said: object) -> str:
        if isinstance(said, dict):
            return "{" + ", ".join(f"{name} = {value(each)}" for name, each in said.items()) + "}"
        if isinstance(said, bool):
            return str(said).lower()
        return repr(said)  # Python's lists, numbers and plain strings are TOML's

    return "".join(f"{name} = {value(said)}\n" for name, said in settings.items()) + _ENGINE


Row = Callable[[Live, "Sources"], None]
ROWS: dict[str, Row] = {}


def row(change: Row) -> Row:
    """Keep what shows the effect of the setting of the same name."""
    ROWS[change.__name__] = change
    return change


class Sources:
    """Where models come from: a server for files and registries, and a hub."""

    def __init__(self, server: FileServer, hub: HubServer) -> None:
        self.server = server
        self.hub = hub


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    """Both servers."""
    file = tmp_path_factory.mktemp("hub") / "tiny-F32.gguf"
    tiny.write_completion_model(file, seed=7)
    content = b"GGUF" + bytes(3 * PIECE_BYTES)
    with serving(content) as server, running_hub({file.name: file.read_bytes()}) as hub:
        yield Sources(server, hub)


@pytest.fixture(scope="module")
def running_live(tmp_path_factory: pytest.TempPathFactory, sources: Sources) -> Iterator[Live]:
    """One daemon for all rows."""
    folder = tmp_path_factory.mktemp("live")
    file = folder / "runnerd.toml"
    file.write_text(written({}))
    env = {
        "RUNNERD_BACKENDS": None,
        "RUNNERD_MEMORY_RESERVE": None,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{sources.server.host}"]',
    }
    with running(folder / "d", "--config", str(file), env=env) as daemon:
        for number, name in enumerate("abc"):
            tiny.write_completion_model(
                folder / f"{name}.gguf", name=name, seed=number, context_length=8192
            )
            daemon.import_model(folder / f"{name}.gguf", name)
        yield Live(daemon, file)


@pytest.fixture
def live(running_live: Live, sources: Sources) -> Iterator[Live]:
    """The daemon, with an owner's other settings before and the defaults afterwards."""
    running_live.set(memory_reserve={"default": 0})
    yield running_live
    running_live.set(memory_reserve={"default": 0})
    running_live.unload()
    sources.hub.private = False
    sources.server.behaviour.pace = lambda sent: None


# tests/integration/test_tls.py: they take TLS; test_served_folders.py: with what folders go through
ELSEWHERE = {"tls_certificate", "tls_key", "model_dirs"}


def test_every_reloadable_setting_has_a_row() -> None:
    """Whoever makes a setting reloadable shows here what its change does."""
    assert set(ROWS) | ELSEWHERE == RELOADABLE


@pytest.mark.parametrize("name", sorted(RELOADABLE - ELSEWHERE))
def test_setting_acts_without_a_restart(name: str, live: Live, sources: Sources) -> None:
    """What the daemon says that it has changed, it has."""
    ROWS[name](live, sources)


def test_what_needs_a_restart_is_said_and_not_done(live: Live) -> None:
    """At every SIGHUP until then, and it is not told as changed."""
    for _ in range(2):
        before = len(live.daemon.text())
        live.set(memory_reserve={"default": 0}, socket_mode=0o600, idle_timeout=299.0)
        said = live.daemon.text()[before:]
        assert "a restart is needed for socket_mode" in said
        assert "socket_mode" not in said.partition("SIGHUP: changed settings: ")[2]


# what comes in, and what is said of it


@row
def log_level(live: Live, sources: Sources) -> None:
    live.set(log_level="warning")
    before = len(live.daemon.text())
    live.set(log_level="warning", idle_timeout=299.0, socket_mode=0o600)
    live.daemon.http.get("/health")
    said = live.daemon.text()[before:]
    assert "a restart is needed for socket_mode" in said
    assert "changed settings" not in said
    live.set(socket_mode=0o600)  # a warning tells when it is over


@row
def capture_requests(live: Live, sources: Sources) -> None:
    live.set(memory_reserve={"default": 0}, capture_requests=True)
    assert live.ask("a").status_code == 200
    url = "/engines/requests"
    [group] = live.daemon.http.get(url).json()
    assert '"prompt":"x"' in group["records"][-1]["request"]
    live.set(memory_reserve={"default": 0}, capture_requests=False)
    assert "records" not in live.daemon.http.get(url).json()[-1]
    live.set(memory_reserve={"default": 0}, capture_requests=True)
    assert live.daemon.http.get(url).json() == []


@row
def metrics(live: Live, sources: Sources) -> None:
    assert live.daemon.http.get("/metrics").status_code == 200
    live.set(metrics="off")
    assert live.daemon.http.get("/metrics").status_code == 404


@row
def log_format(live: Live, sources: Sources) -> None:
    live.set(log_format="json")
    before = len(live.daemon.text())
    live.set(log_format="json", idle_timeout=299.0)
    lines = map(json.loads, live.daemon.text()[before:].splitlines())
    line = next(each for each in lines if each["logger"] == "runnerd.daemon")
    assert line["level"] == "info"
    assert "idle_timeout" in line["message"]
    live.set()
    assert " INFO runnerd.daemon: SIGHUP: changed settings" in live.daemon.text()


@row
def page(live: Live, sources: Sources) -> None:
    def shown() -> int:
        return live.daemon.http.get("/ui").status_code

    live.set()
    assert shown() == 200
    live.set(page=False)
    assert shown() == 404


@row
def allowed_hosts(live: Live, sources: Sources) -> None:
    with httpx.Client(
        base_url=live.daemon.address, headers={"Host": "models.example"}, verify=NO_TLS
    ) as client:
        assert client.get("/health").status_code == 403
        live.set(allowed_hosts=["models.example"])
        assert client.get("/health").status_code == 200


@row
def allowed_origins(live: Live, sources: Sources) -> None:
    headers = {"Origin": "https://page.example"}
    with httpx.Client(base_url=live.daemon.address, headers=headers, verify=NO_TLS) as client:
        assert client.get("/health").status_code == 403
        live.set(allowed_origins=["https://page.example"])
        assert client.get("/health").status_code == 200


@row
def local_origins(live: Live, sources: Sources) -> None:
    headers = {"Origin": "http://localhost:3000"}
    with httpx.Client(base_url=live.daemon.address, headers=headers, verify=NO_TLS) as client:
        assert client.get("/health").status_code == 200
        live.set(local_origins=False)
        assert client.get("/health").status_code == 403


# work that waits


@row
def jobs(live: Live, sources: Sources) -> None:
    client = live.daemon.http
    live.set(jobs={"at_once": 0})
    job = {"model": "a", "prompt": "x", "parameters": {"max_tokens": 1}}
    id = client.post("/runnerd/jobs", json=job).json()[0]["id"]
    assert client.get(f"/runnerd/jobs/{id}").json()["state"] == "queued"
    live.set(jobs={"at_once": 1})
    wait_for(lambda: client.get(f"/runnerd/jobs/{id}").json()["state"] == "completed", "the job")


# who needs no key


def _users_over_tcp(live: Live) -> int:
    """What is answered over TCP to who may manage users, on a connection of its own."""
    return httpx.get(f"{live.daemon.address}/runnerd/users", verify=NO_TLS).status_code


def _models_of_a_stranger(live: Live) -> int:
    """What another user of this host is answered, as is a program that a proxy passes on."""
    headers = {"X-Forwarded-For": "198.51.100.1"}
    return httpx.get(f"{live.daemon.address}/models", headers=headers, verify=NO_TLS).status_code


@row
def require_keys(live: Live, sources: Sources) -> None:
    assert _models_of_a_stranger(live) == 200
    live.set(require_keys=True)
    assert _models_of_a_stranger(live) == 401
    assert _users_over_tcp(live) == 200


@row
def user_group(live: Live, sources: Sources) -> None:
    assert _models_of_a_stranger(live) == 200
    live.set(user_group="4242")
    assert _models_of_a_stranger(live) == 401


@row
def owner_group(live: Live, sources: Sources) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    where = live.daemon.address.removeprefix("http://")
    assert ask_as(NOBODY, where, "GET", "/runnerd/users").status == 403
    live.set(owner_group=str(pwd.getpwuid(NOBODY).pw_gid))
    assert ask_as(NOBODY, where, "GET", "/runnerd/users").status == 200


@row
def trusted_proxies(live: Live, sources: Sources) -> None:
    assert _users_over_tcp(live) == 200
    live.set(trusted_proxies=["127.0.0.0/8"])
    assert _users_over_tcp(live) == 403


# how long things may take


@row
def idle_timeout(live: Live, sources: Sources) -> None:
    assert live.ask("a").status_code == 200
    assert live.loaded() == ["a"]
    live.set(idle_timeout=0)
    wait_for(lambda: not live.loaded(), "the unused runner to go")


@row
def load_timeout(live: Live, sources: Sources) -> None:
    assert live.ask("c").status_code == 200
    live.unload()
    live.set(load_timeout=0.001)
    response = live.ask("c")
    assert (response.status_code, "load_timeout" in response.text) == (502, True), response.text


@row
def hang_timeout(live: Live, sources: Sources) -> None:
    live.set(hang_timeout=3600)
    with live.daemon.client() as client:
        with client.stream("POST", "/v1/completions", json={**LONG, "model": "a"}) as response:
            lines = response.iter_lines()
            next(lines)
            (engine,) = live.daemon.engines()
            engine.suspend()
            live.set(hang_timeout=0.3)
            assert any("hang_timeout" in line for line in lines)


@row
def slot_timeout(live: Live, sources: Sources) -> None:
    live.ask("a")
    live.set(slot_timeout=1e-6)
    before = len(live.daemon.text())
    live.unload()
    assert "its slots were not saved: it took too long" in live.daemon.text()[before:]


@row
def sessions(live: Live, sources: Sources) -> None:
    live.set(sessions={"per_user": 1})
    first, second = (
        live.daemon.http.post("/runnerd/sessions", json={"model": "a"}).json() for _ in range(2)
    )
    assert second["removed"] == [first["id"]]


@row
def drain_timeout(live: Live, sources: Sources) -> None:
    file = live.folder / "drained.toml"
    file.write_text(written({"drain_timeout": 3600}))
    with running(live.folder / "drained", "--config", str(file)) as daemon:
        daemon.import_model(live.folder / "a.gguf", "a")
        with daemon.client() as client:
            with client.stream("POST", "/v1/completions", json={**LONG, "model": "a"}) as response:
                pieces = response.iter_raw()
                next(pieces)
                file.write_text(written({"drain_timeout": 0.2}))
                daemon.reload()
                assert daemon.terminate() == 0
        assert "draining for at most 0.2 s" in daemon.text()


@row
def queue_timeout(live: Live, sources: Sources) -> None:
    release = threading.Event()
    sources.server.behaviour.pace = lambda sent: (release.wait(60 * SECONDS), None)[1]
    with ThreadPoolExecutor(2) as pool:
        pulling = pool.submit(pull, live, sources.server.url("/coming.gguf"))
        wait_for(lambda: live.daemon.http.get("/models/pulls").json(), "the pull to begin")
        live.set(queue_timeout=0.2)
        for_a_pull = live.ask("coming")
        assert (for_a_pull.status_code, "queue_timeout" in for_a_pull.text) == (429, True)
        live.set(max_runners=1, turn=3600, hang_timeout=3600)
        with live.holding("a"):
            waiting = pool.submit(live.ask, "b")
            wait_for(lambda: live.daemon.http.get("/health").json()["queued"], "it to wait")
            live.set(max_runners=1, turn=3600, hang_timeout=3600, queue_timeout=0.2)
            told = waiting.result()
            assert (told.status_code, "queue_timeout" in told.text) == (429, True)
        release.set()
        pulling.result()


# who gets a runner


@row
def turn(live: Live, sources: Sources) -> None:
    live.set(max_runners=1, turn=3600, hang_timeout=3600)

    def draining() -> bool:
        return any(runner["yields"] for runner in live.daemon.ps())

    with ThreadPoolExecutor(1) as pool, live.holding("a"):
        other = pool.submit(live.ask, "b")
        wait_for(lambda: live.daemon.http.get("/health").json()["queued"], "the second to wait")
        assert not draining()
        live.set(max_runners=1, turn=0, hang_timeout=3600)
        wait_for(draining, "the first one's turn to end")
        live.set(max_runners=2, hang_timeout=3600)
        assert other.result().status_code == 200


@row
def overcommit(live: Live, sources: Sources) -> None:
    live.daemon.http.post("/engines/_configure", json={"model": "a", "parallel": 1})

    def counts() -> list[tuple[int, int]]:
        return [(runner["requests"], runner["waiting"]) for runner in live.daemon.ps()]

    live.set(overcommit=0, hang_timeout=3600)
    with live.holding("a", 3):
        assert counts() == [(3, 0)]
        live.set(overcommit=1, hang_timeout=3600)
        with live.asking("a"):
            wait_for(lambda: counts() == [(3, 1)], "one to wait")


@row
def max_runners(live: Live, sources: Sources) -> None:
    live.set(max_runners=1)
    assert [live.ask(name).status_code for name in "ab"] == [200, 200]
    assert live.loaded() == ["b"]
    live.set(max_runners=2)
    assert live.ask("a").status_code == 200
    assert live.loaded() == ["a", "b"]


@row
def memory_share(live: Live, sources: Sources) -> None:
    share_the_host(live, {"memory_share": {"ram": 1e-9}, "memory_reserve": {"default": 0}})


@row
def memory_reserve(live: Live, sources: Sources) -> None:
    share_the_host(live, {"memory_reserve": {"default": 2**60}})


def share_the_host(live: Live, narrow: dict[str, Any]) -> None:
    """Show that two models lie side by side, and under these settings do not."""
    assert [live.ask(name).status_code for name in "ab"] == [200, 200]
    assert live.loaded() == ["a", "b"]
    live.unload()
    live.set(**narrow)
    for name in "ab":
        live.ask(name)
    assert len(live.loaded()) <= 1


@row
def queue_length(live: Live, sources: Sources) -> None:
    live.set(queue_length=0)
    assert live.ask("a").status_code == 429
    live.set(queue_length=1)
    assert live.ask("a").status_code == 200


# where models come from


def pull(live: Live, reference: str) -> dict[str, Any]:
    """Pull and return the last line of the stream, or the error."""
    with live.daemon.client() as client:
        response = client.post("/models/create", json={"from": reference}, headers=JSON)
    return events(response)[-1] if response.status_code == 200 else response.json()["error"]


@row
def auto_pull(live: Live, sources: Sources) -> None:
    missing = f"{sources.server.host}/some/missing:v1"
    sources.server.seen.clear()
    assert live.ask(missing).status_code == 404
    assert not sources.server.seen
    live.set(auto_pull=True)
    live.ask(missing)
    assert sources.server.seen


@row
def pull_parts(live: Live, sources: Sources) -> None:
    server = sources.server
    live.set(pull_parts=1)
    server.most_at_once = 0
    pull(live, server.url("/one.gguf"))
    assert server.most_at_once == 1
    live.set(pull_parts=3)
    several = threading.Event()

    def pace(sent: int) -> None:
        if server.at_once > 1:
            several.set()
        assert several.wait(60 * SECONDS)

    server.behaviour.pace = pace
    pull(live, server.url("/several.gguf"))
    assert server.most_at_once > 1


@row
def default_registry(live: Live, sources: Sources) -> None:
    live.set(default_registry=sources.server.host)
    sources.server.seen.clear()
    pull(live, "some/model:v1")
    assert sources.server.seen[0].path == "/v2/some/model/manifests/v1"


@row
def hub_endpoint(live: Live, sources: Sources) -> None:
    live.set(hub_endpoint=f"http://{sources.server.host}")
    sources.server.seen.clear()
    pull(live, "hf.co/org/Tiny-GGUF")
    assert sources.server.seen[0].path.startswith("/api/models/org/Tiny-GGUF")


@row
def shared_logins(live: Live, sources: Sources) -> None:
    """The owner's token is no user's, unless it is shared by name."""
    sources.hub.private = True
    token = {"hub_endpoint": sources.hub.endpoint, "hub_token": sources.hub.token}
    live.set(**token)
    user = {"name": "puller", "may": ["download_llm"]}
    made = live.daemon.http.post("/runnerd/users", json=user).json()
    assert "key" in made, made
    headers = {"Authorization": f"Bearer {made['key']}"}
    asked = {"from": "hf.co/org/Tiny-GGUF"}
    refused = live.daemon.http.post("/models/create", json=asked, headers=headers)
    assert "private" in refused.text
    assert refused.text.count('"success"') == 0
    live.set(**token, shared_logins=["hf.co"])
    pulled = live.daemon.http.post("/models/create", json=asked, headers=headers)
    assert '"success"' in pulled.text, pulled.text
    live.daemon.http.delete("/models/hf.co/org/Tiny-GGUF?force=true")
    live.daemon.http.delete("/runnerd/users/puller")


@row
def hub_token(live: Live, sources: Sources) -> None:
    sources.hub.private = True
    live.set(hub_endpoint=sources.hub.endpoint)
    assert "private" in pull(live, "hf.co/org/Tiny-GGUF")["message"]
    live.set(hub_endpoint=sources.hub.endpoint, hub_token=sources.hub.token)
    assert pull(live, "hf.co/org/Tiny-GGUF")["type"] == "success"
