"""Models that were made of another one share its engine, unless it would be started otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

ASKED = [{"role": "user", "content": "What is your name?"}]
VARIANTS: dict[str, dict[str, Any]] = {
    "ada": {"system": "You are Ada."},
    "brief": {"parameters": {"num_predict": 3}},
    "opened": {"messages": [{"role": "user", "content": "Hi."}]},
    "licensed": {"license": "As you like."},
}


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with a model and its variants."""
    with running(tmp_path) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "base")
        for name, made in VARIANTS.items():
            create(daemon, name, **made)
        yield daemon


def create(daemon: DaemonProcess, name: str, **made: Any) -> None:
    response = daemon.http.post("/api/create", json={"model": name, "from": "base", **made})
    assert '"status":"success"' in response.text, response.text


def ask(daemon: DaemonProcess, model: str, path: str = "", **body: Any) -> httpx.Response:
    question = {"model": model, "messages": ASKED, "max_tokens": 20, "temperature": 0, **body}
    return daemon.http.post(f"{path}/v1/chat/completions", json=question)


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def starts(daemon: DaemonProcess) -> int:
    """Return how many engines were started."""
    return daemon.text().count(": starting /")


def ids(daemon: DaemonProcess) -> dict[str, str]:
    models = daemon.http.get("/models").json()
    return {
        model["tags"][0].removeprefix("ai/").removesuffix(":latest"): model["id"]
        for model in models
    }


def configure(daemon: DaemonProcess, model: str, **fields: Any) -> httpx.Response:
    return daemon.http.post("/engines/_configure", json={"model": model, **fields})


def test_variants_share_an_engine_and_keep_what_was_set(daemon: DaemonProcess) -> None:
    """One engine for all; each response is its model's own, and names it as it was asked for."""
    names = ["base", *VARIANTS]
    answers = {name: ask(daemon, name).json() for name in names}
    assert starts(daemon) == 1
    assert {name: response["model"] for name, response in answers.items()} == {n: n for n in names}
    prompts = {name: response["usage"]["prompt_tokens"] for name, response in answers.items()}
    assert prompts["ada"] > prompts["base"] == prompts["brief"] < prompts["opened"]
    assert answers["brief"]["usage"]["completion_tokens"] > 3  # the request's own word counts
    limited = {"model": "brief", "messages": ASKED, "stream": False}
    assert daemon.http.post("/api/chat", json=limited).json()["eval_count"] == 3
    assert starts(daemon) == 1


def test_what_the_engine_is_started_with_is_not_shared(daemon: DaemonProcess) -> None:
    """Another context, template or configuration is another engine; a second name is none."""
    create(daemon, "narrow", parameters={"num_ctx": 256})
    create(daemon, "worded", template="{% for m in messages %}{{ m.content }}{% endfor %}")
    daemon.http.post("/api/copy", json={"source": "base", "destination": "copy"})
    assert configure(daemon, "ada", parallel=2).status_code == 202
    for name in ("base", "copy", "brief"):
        content(ask(daemon, name))
    assert starts(daemon) == 1
    for count, name in enumerate(("narrow", "worded", "ada"), 2):
        content(ask(daemon, name))
        assert starts(daemon) == count
    assert len(daemon.ps()) == 4


def test_a_runner_is_known_by_each_of_its_models(daemon: DaemonProcess) -> None:
    """In `ps`, on its own route and socket, in records and to who unloads it; others get 421."""
    create(daemon, "narrow", parameters={"num_ctx": 256})
    content(ask(daemon, "ada"))
    content(ask(daemon, "base"))
    (runner,) = daemon.ps()
    id_of = ids(daemon)
    assert (runner["model_name"], runner["model_id"]) == ("ada", id_of["ada"])
    assert [name.removesuffix(":latest") for name in runner["also"]] == ["ai/base"]
    listed = daemon.http.get("/api/ps").json()["models"]
    assert sorted(model["name"] for model in listed) == ["ada:latest", "base:latest"]
    records = daemon.http.get("/engines/requests", params={"model": "base"}).json()
    assert [record["model"] for record in records] == [id_of["base"]]

    bound = f"/runners/{runner['id']}"
    statuses = {name: ask(daemon, name, bound).status_code for name in ("base", "brief", "narrow")}
    assert statuses == {"base": 200, "brief": 200, "narrow": 421}
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=runner["socket"], verify=NO_TLS), timeout=60
    ) as client:
        for name, status in {"ada": 200, "base": 200, "narrow": 421, "nobody": 421}.items():
            body = {"model": name, "messages": ASKED, "max_tokens": 1}
            response = client.post("http://localhost/v1/chat/completions", json=body)
            assert response.status_code == status, response.text

    unloaded = daemon.http.post("/engines/unload", json={"models": ["brief"]})
    assert unloaded.json() == {"unloaded_runners": 1}
    content(ask(daemon, "ada"))
    gone = daemon.http.post("/api/generate", json={"model": "base", "keep_alive": 0})
    assert gone.json()["done_reason"] == "unload"
    assert daemon.ps() == []


def test_deleting_one_leaves_the_others_their_engine(daemon: DaemonProcess) -> None:
    """Whichever goes, also the first, also while it answers; the last takes all with it."""
    endless = {"model": "ada", "prompt": "x", "max_tokens": 8000, "ignore_eos": True}
    with (
        daemon.client() as client,
        client.stream("POST", "/v1/completions", json={**endless, "stream": True}) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        gone = daemon.http.delete("/models/ada")
        assert gone.status_code == 200, gone.text
        assert daemon.http.delete("/models/base").status_code == 200
        content(ask(daemon, "brief"))
        assert starts(daemon) == 1
        assert sum(line.startswith("data: ") for line in lines) > 10  # it goes on to its end
    assert ask(daemon, "ada").status_code == 404
    (engine,) = daemon.engines()
    engine.kill()
    wait_for(lambda: not psutil.pid_exists(engine.pid), "the engine to be gone")
    wait_for(lambda: not daemon.ps() or daemon.ps()[0]["state"] == "failed", "it to be noticed")
    content(ask(daemon, "brief"))  # from the files that are left
    assert daemon.http.delete("/models/opened").status_code == 200
    assert daemon.http.delete("/models/licensed").status_code == 200
    assert daemon.engines()
    assert daemon.http.delete("/models/brief").status_code == 200
    assert daemon.engines() == []
    assert list((daemon.state_dir / "slots").iterdir()) == []


def test_a_runner_is_not_called_what_was_deleted(daemon: DaemonProcess) -> None:
    """It goes by the others that it serves, each of them once."""
    for name in ("base", "ada", "brief"):
        content(ask(daemon, name))
    assert called(daemon) == ["base", "ada", "brief"]
    assert daemon.http.delete("/models/base").status_code == 200
    assert called(daemon) == ["ada", "brief"]
    status = daemon.http.get("/", headers={"Accept": "application/json"}).json()
    assert [name.split(":")[0] for name in status["pool"]["instances"]] == ["ai/ada"]

    assert daemon.http.post("/models/ada/tag", params={"repo": "lovelace"}).is_success
    assert daemon.http.delete("/models/ada").status_code == 200
    assert called(daemon) == ["lovelace", "brief"]


def called(daemon: DaemonProcess) -> list[str]:
    """Return what `ps` calls the one runner, first its own name, then the others that share it."""
    (runner,) = daemon.ps()
    names = (runner["model_name"], *runner["also"])
    return [name.removeprefix("ai/").removesuffix(":latest") for name in names]


def test_each_is_configured_for_itself_and_kept_with_the_others(daemon: DaemonProcess) -> None:
    """What changes no start changes no runner; the most demanding of those in use counts."""
    assert configure(daemon, "ada", keep_alive="0").status_code == 202
    content(ask(daemon, "ada"))
    wait_for(lambda: not daemon.ps(), "the runner to go, which only a model without a stay uses")
    content(ask(daemon, "base"))
    content(ask(daemon, "ada"))
    assert [runner["keep_alive"] for runner in daemon.ps()] == ["5m0s"]
    assert configure(daemon, "brief", pinned=True, keep_alive="1h").status_code == 202
    content(ask(daemon, "brief"))
    forced = {"forced_parameters": {"max_tokens": 2}}
    assert configure(daemon, "ada", **forced).status_code == 202
    assert ask(daemon, "ada").json()["usage"]["completion_tokens"] == 2
    assert ask(daemon, "base").json()["usage"]["completion_tokens"] > 2
    assert starts(daemon) == 2


def test_reconfiguring_one_leaves_the_others_their_engine(daemon: DaemonProcess) -> None:
    """It gets an engine of its own; the shared one is not in the way even while it is in use."""
    content(ask(daemon, "ada"))
    endless = {"model": "base", "prompt": "x", "max_tokens": 8000, "ignore_eos": True}
    with (
        daemon.client() as client,
        client.stream("POST", "/v1/completions", json={**endless, "stream": True}) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        assert configure(daemon, "ada", parallel=2).status_code == 202
        content(ask(daemon, "ada"))
        assert starts(daemon) == 2
        assert configure(daemon, "base", parallel=3).status_code == 409


def test_what_was_evaluated_for_one_is_there_for_the_other(daemon: DaemonProcess) -> None:
    """Saved slots belong to what is loaded: a conversation goes on under another name."""
    long = [{"role": "system", "content": "The quick brown fox. " * 20}, *ASKED]
    cold = content(ask(daemon, "base", messages=long))
    daemon.http.post("/engines/unload", json={"all": True})
    warm = ask(daemon, "licensed", messages=long)
    assert content(warm) == cold
    assert warm.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 100
