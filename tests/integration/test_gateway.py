"""People who wait: HAProxy with the repository's file in front of three daemons."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.chats import DEMO
from tests.support.daemon import DaemonProcess, running
from tests.support.gateways import HAPROXY, People, retried, running_haproxy
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, until, wait_for

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (apt install haproxy)")

_MODELS = {
    "one": ("demo-a", "demo-b", "demo/embed"),
    "two": ("demo-a",),
    "three": ("demo-b",),
}
_PEOPLE = 8


class Site:
    """Three daemons of different models, and the gateway's address."""

    def __init__(self, root: Path, daemons: dict[str, DaemonProcess], address: str) -> None:
        self.root = root
        self.daemons = daemons
        self.address = address
        self.http = httpx.Client(base_url=address, timeout=60 * SECONDS, verify=NO_TLS)

    def chat(self, model: str) -> httpx.Response:
        """One short chat through the gateway."""
        body = {"messages": [{"role": "user", "content": "Who are you?"}], "model": model}
        return self.http.post("/v1/chat/completions", json=body)

    def await_checks(self) -> None:
        """Wait until the gateway has seen which daemon has what."""
        wait_for(lambda: self.chat("demo-a").headers.get("X-Daemon") == "two", "demo-a of two")
        wait_for(lambda: self.chat("demo-b").headers.get("X-Daemon") == "three", "demo-b of three")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The site, with all that it needs loaded."""
    with ExitStack() as stack:
        daemons = {name: stack.enter_context(running(tmp_path / name)) for name in _MODELS}
        models: dict[str, Any] = {}
        for name, daemon in daemons.items():
            for model in _MODELS[name]:
                file = DEMO.with_name(f"{model.replace('/', '-')}.gguf")
                daemon.import_model(file, model)
            listed = daemon.http.get("/v1/models").json()["data"]
            models |= {model["id"]: model for model in listed}
        addresses = [daemon.address.removeprefix("http://") for daemon in daemons.values()]
        address = stack.enter_context(running_haproxy(tmp_path, addresses, list(models.values())))
        site = Site(tmp_path, daemons, address)
        stack.callback(site.http.close)
        site.await_checks()
        yield site


def test_requests_go_to_a_daemon_that_has_the_model(site: Site) -> None:
    """By the name in the body, wherever it stands; what cannot be routed is refused in words."""
    listed = site.http.get("/v1/models").json()["data"]
    names = {model["id"].removesuffix(":latest") for model in listed}
    assert names == {"ai/demo-a", "ai/demo-b", "demo/embed"}
    asked = {"input": "hello", "model": "demo/embed:latest"}
    embed = site.http.post("/v1/embeddings", json=asked)
    assert (embed.status_code, embed.headers["X-Daemon"]) == (200, "one"), embed.text
    assert site.http.get("/v1/models/demo/embed").headers["X-Daemon"] == "one"
    long = "hello " * 150_000  # 900 KB before the model's name
    late = site.http.post("/v1/embeddings", json={"input": long, "model": "demo/embed"})
    assert late.headers["X-Daemon"] == "one"

    assert site.chat("ai/demo-a:latest").status_code == 200
    daemon = site.daemons["one"]
    limits = {"requests_per_minute": 1}
    user = daemon.http.post("/runnerd/users", json={"name": "ann", "limits": limits}).json()
    headers = {"Authorization": f"Bearer {user['key']}"}
    for expected in (200, 429):
        embed = site.http.post("/v1/embeddings", json=asked, headers=headers)
        assert embed.status_code == expected, embed.text
    assert int(embed.headers["Retry-After"]) > 0

    unknown = site.chat('de"mo')
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert 'de"mo' in unknown.json()["error"]["message"]
    nameless = site.http.post("/v1/chat/completions", json={"messages": []})
    assert nameless.json()["error"]["code"] == "model_missing"
    assert site.http.delete("/models/demo-a").status_code == 404
    assert site.http.get("/runnerd/users").status_code == 404


async def test_a_drain_loses_nothing_and_a_kill_only_what_was_inside(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM to one daemon under load, then SIGKILL to another; then the last one."""
    people = People(site.address, ("demo-a", "demo-b"))
    async with people.asking(_PEOPLE):
        await until(lambda: people.begun["three"] > 0)
        process = site.daemons["three"].process
        assert process is not None
        process.terminate()
        await until(lambda: process.poll() is not None)
        drained = people.ended
        await until(lambda: people.ended >= drained + 20)
        assert {outcome for outcome, _ in people.outcomes} == {"complete"}, people.outcomes

        # It hangs first, so that there are requests inside it, some without a response as yet.
        await until(lambda: people.begun["two"] > 0)
        hung = site.daemons["two"].process
        assert hung is not None
        hung.send_signal(signal.SIGSTOP)
        stopped = people.ended
        await until(lambda: people.ended >= stopped + 20)
        site.daemons["two"].kill()
        killed = people.ended
        await until(lambda: people.ended >= killed + 20)

    with capsys.disabled():
        print(f"\n{dict(people.outcomes)}, sent twice: {retried(site.root)}")
    lost = {each: n for each, n in people.outcomes.items() if each[0] != "complete"}
    assert set(lost) <= {("cut", "two")}, people.outcomes
    assert sum(lost.values()) <= _PEOPLE
    assert retried(site.root) >= 1
    assert people.outcomes["complete", "two"]
    assert people.outcomes["complete", "three"]

    site.daemons["one"].kill()
    refused = site.chat("demo-a")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert refused.json()["error"]["code"] == "service_unavailable"
