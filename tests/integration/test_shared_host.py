"""Users of one daemon: what each may do and see, and that a change reaches what is under way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.members import Join, Member, joining
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for
from tests.support.wire import Wire, get

pytestmark = pytest.mark.engine

ENDLESS = {"model": "tiny", "prompt": "x", "max_tokens": 8000, "stream": True, "ignore_eos": True}
CHAT = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with two models, of which one has a second name."""
    one_each = {"RUNNERD_OVERCOMMIT": "1"}  # requests wait here and not in the engine
    with running(tmp_path_factory.mktemp("shared"), env=one_each) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "team/secret")
        daemon.http.post("/models/tiny/tag", params={"repo": "team/tiny"}).raise_for_status()
        yield daemon


@pytest.fixture
def join(daemon: DaemonProcess) -> Iterator[Join]:
    """Add users, until the end of the test."""
    with joining(daemon) as join:
        yield join


HIDDEN = [
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/completions", {"prompt": "x"}),
    ("POST", "/v1/embeddings", {"input": "x"}),
    ("POST", "/v1/responses", {"input": "x"}),
    ("POST", "/v1/messages", CHAT),
    ("POST", "/v1/messages/count_tokens", CHAT),
    ("POST", "/v1/tokenize", {"content": "x"}),
    ("POST", "/rerank", {"query": "x", "documents": ["y"]}),
    ("POST", "/api/chat", {"messages": []}),
    ("POST", "/api/generate", {"prompt": ""}),
    ("POST", "/api/generate", {"keep_alive": 0}),
    ("POST", "/api/embed", {"input": "x"}),
    ("POST", "/api/show", {}),
    ("POST", "/engines/load", {"models": ["MODEL"]}),
    ("POST", "/engines/unload", {"models": ["MODEL"]}),
    ("GET", "/models/MODEL", None),
    ("GET", "/v1/models/MODEL", None),
    ("GET", "/engines/v1/models/MODEL", None),
    ("GET", "/engines/requests?model=MODEL", None),
    ("GET", "/engines/_configure?model=MODEL", None),
]


@pytest.mark.parametrize("said", HIDDEN, ids=lambda said: said[1])
def test_a_model_that_was_not_granted(
    daemon: DaemonProcess, join: Join, said: tuple[str, str, dict[str, Any] | None]
) -> None:
    """It is as one that there never was, by whichever of its names, on every route."""
    method, path, body = said
    may = ["session", "view_llms", "load_llm", "unload_llm", "download_llm"]
    member = join("ann", may=may, models=["tiny"])
    id = daemon.http.get("/models/team/secret").json()["id"]

    def asked(name: str) -> tuple[int, str]:
        document = None
        if body is not None:
            document = json.loads(json.dumps({"model": name, **body}).replace("MODEL", name))
        response = member.http.request(method, path.replace("MODEL", name), json=document)
        return response.status_code, response.text.replace(name, "NAME")

    unknown = asked("ai/unknown")
    assert unknown[0] == 404 or unknown[1] == '{"unloaded_runners":0}'
    for name in ("team/secret", "secret", "team/tiny", id, id[7:19]):
        assert asked(name) == unknown, name
    assert daemon.ps() == [] or all("secret" not in runner["model_name"] for runner in daemon.ps())


def test_a_runner_of_a_model_that_was_not_granted(daemon: DaemonProcess, join: Join) -> None:
    """It is as unknown as one that there never was, whichever model a request names."""
    body = {"model": "team/secret", "prompt": "x", "max_tokens": 1}
    daemon.http.post("/v1/completions", json=body).raise_for_status()
    id = next(each["id"] for each in daemon.ps() if "secret" in each["model_name"])
    member = join("ann", models=["tiny"])
    for model in ("team/secret", "tiny"):
        told = []
        for runner in (id, "0" * len(id)):
            response = member.http.post(
                f"/runners/{runner}/v1/completions", json=body | {"model": model}
            )
            told.append((response.status_code, response.text.replace(runner, "RUNNER")))
        assert told[0] == told[1]
        assert told[0][0] == 404


def test_lists(daemon: DaemonProcess, join: Join) -> None:
    """Models, runners, configurations and the status have what was granted, and not a name more."""
    member = join("ann", models=["team/*"])
    some = join("bob", models=["tiny"])
    for model in ("tiny", "team/secret"):
        daemon.http.post("/v1/completions", json={"model": model, "prompt": "x", "max_tokens": 1})
    paths = ["/models", "/v1/models", "/api/tags", "/api/ps", "/engines/ps"]
    for path in paths:
        everything = member.http.get(path).text
        assert "team/secret" in everything, path
        assert path == "/engines/ps" or "team/tiny" in everything, path
        assert "ai/tiny" not in everything.replace("team/tiny", ""), path
        told = some.http.get(path).text
        assert "tiny" in told, path
        assert "secret" not in told, path
        assert "team" not in told, path
    status = some.http.get("/", headers={"Accept": "application/json"}).text
    assert "tiny" in status
    assert "team" not in status
    used, owners = (client.get("/engines/df").json() for client in (some.http, daemon.http))
    assert 0 < used["models_disk_usage"] < owners["models_disk_usage"]
    assert "state_dir" not in used


def test_requests_belong_to_who_asked(daemon: DaemonProcess, join: Join) -> None:
    """Of others' there is nothing in a user's list; the owner sees whose they are."""
    ann, bob = join("ann"), join("bob")
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1}
    ann.http.post("/v1/completions", json=body, headers={"X-Request-Id": "anns"})
    bob.http.post("/v1/completions", json=body, headers={"X-Request-Id": "bobs"})
    assert [record["id"] for record in ann.http.get("/engines/requests").json()] == ["anns"]
    assert [record["id"] for record in bob.http.get("/engines/requests").json()] == ["bobs"]
    every = {each["id"]: each["principal"] for each in daemon.http.get("/engines/requests").json()}
    assert every["anns"] == f"user {ann.id}"
    assert every["bobs"] == f"user {bob.id}"


def test_kept_responses_belong_to_who_asked(join: Join) -> None:
    """Whoever else knows an id gets the 404 of an unknown one, from each route that takes one."""
    ann, bob = join("ann"), join("bob")
    body = {"model": "tiny", "input": "x", "max_output_tokens": 2}
    id = ann.http.post("/v1/responses", json=body).json()["id"]
    assert ann.http.get(f"/v1/responses/{id}").status_code == 200
    assert ann.http.post("/v1/responses", json={**body, "previous_response_id": id}).is_success
    for method, path, said in (
        ("GET", "/v1/responses/ID", None),
        ("DELETE", "/v1/responses/ID", None),
        ("POST", "/v1/responses", {**body, "previous_response_id": "ID"}),
        ("POST", "/v1/responses", {**body, "input": [{"type": "item_reference", "id": "ID"}]}),
    ):
        hidden, unknown = (
            bob.http.request(
                method,
                path.replace("ID", of),
                json=said and json.loads(json.dumps(said).replace("ID", of)),
            )
            for of in (id, "resp_0")
        )
        assert hidden.status_code == unknown.status_code == 404
        assert hidden.text.replace(id, "resp_0") == unknown.text
    assert ann.http.delete(f"/v1/responses/{id}").is_success


@contextmanager
def streaming(member: Member) -> Iterator[httpx.Response]:
    """A stream over the Unix socket, which stands still while it is not read: buffers are small."""
    transport = httpx.HTTPTransport(uds=str(member.daemon.socket), verify=NO_TLS)
    with (
        httpx.Client(
            transport=transport,
            base_url="http://localhost",
            headers=member.http.headers,
            timeout=60,
        ) as http,
        http.stream("POST", "/v1/completions", json=ENDLESS) as stream,
    ):
        yield stream


def rest_of(lines: Iterator[str]) -> list[str]:
    """What still comes, until the stream is at its end."""
    return [line for line in lines if line]


@pytest.mark.parametrize("how", ["revoked", "removed", "disabled", "permission", "grant"])
def test_a_change_ends_what_is_under_way(daemon: DaemonProcess, join: Join, how: str) -> None:
    """A stream is told so and ends; the next request of the same bytes is refused."""
    member = join("ann")
    changes: dict[str, Callable[[], None]] = {
        "revoked": member.revoke,
        "removed": member.remove,
        "disabled": lambda: member.edit(disabled=True),
        "permission": lambda: member.edit(may=["view_llms"]),
        "grant": lambda: member.edit(models=["ai/other"]),
    }
    with streaming(member) as stream:
        lines = stream.iter_lines()
        next(lines)
        changes[how]()
        told = rest_of(lines)
    last = json.loads(told[-1].removeprefix("data: "))
    assert last["error"]["message"]
    assert "[DONE]" not in told[-1]
    again = member.http.post("/v1/completions", json=ENDLESS)
    assert again.status_code == {"permission": 403, "grant": 404}.get(how, 401)


def test_a_place_is_left_for_others(tmp_path: Path, gguf: Path) -> None:
    """Who keeps long streams at a model waits with the fourth, as long as somebody else was there
    lately, whose next request waits for none of them.

    The daemon is a new one: an engine that has answered many in milliseconds is not held back.
    """
    short = {"model": "tiny", "prompt": "x", "max_tokens": 1}
    with ExitStack() as stack:
        daemon = stack.enter_context(running(tmp_path / "d", env={"RUNNERD_OVERCOMMIT": "1"}))
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        person, greedy = Member(daemon, "person"), Member(daemon, "greedy")
        for each in (person, greedy):
            stack.callback(each.http.close)
        person.http.post("/v1/completions", json=short).raise_for_status()
        streams = [stack.enter_context(streaming(greedy)).iter_lines() for _ in range(3)]
        for stream in streams:
            next(stream)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        fourth = pool.submit(lambda: stack.enter_context(streaming(greedy)))
        wait_for(lambda: daemon.ps()[0]["waiting"] == 1, "the fourth to wait")
        person.http.post("/v1/completions", json=short).raise_for_status()
        assert not fourth.done()
        for stream in streams:
            assert "error" not in next(stream)
        greedy.revoke()
        fourth.exception()


def test_others_streams_go_on(daemon: DaemonProcess, join: Join) -> None:
    """Only the one who was revoked is ended."""
    ann, bob = join("ann"), join("bob")
    with streaming(ann) as hers, streaming(bob) as his:
        ours, theirs = hers.iter_lines(), his.iter_lines()
        next(ours)
        next(theirs)
        ann.revoke()
        rest_of(ours)
        for _ in range(20):
            assert "error" not in next(theirs)


def test_a_key_that_expires_ends_its_stream(daemon: DaemonProcess, join: Join) -> None:
    """Nobody has to do anything for it."""
    member = join("ann")
    made = daemon.http.post(f"/runnerd/users/{member.id}/keys", json={"expires": "2s"}).json()
    member.http.headers["Authorization"] = f"Bearer {made['key']}"
    with streaming(member) as stream:
        told = rest_of(stream.iter_lines())
    assert "expired" in told[-1]


def test_who_waits_in_line_is_told(daemon: DaemonProcess, join: Join) -> None:
    """A request that waits for a place of a runner is refused when its key is revoked."""
    daemon.http.post("/models/tiny/configure", json={"parallel": 1}).raise_for_status()
    ann, bob = join("ann"), join("bob")
    answers: list[httpx.Response] = []
    with streaming(bob) as busy:
        lines = busy.iter_lines()  # which would close the stream if nobody had it
        next(lines)
        body = {"model": "tiny", "prompt": "x", "max_tokens": 1}
        asking = threading.Thread(
            target=lambda: answers.extend(
                [ann.http.post("/v1/completions", json=body) for _ in range(2)]
            )
        )
        asking.start()
        wait_for(lambda: any(each["waiting"] for each in daemon.ps()) or answers, "it to wait")
        ann.revoke()
        asking.join()
    daemon.http.post("/models/tiny/configure", json={"parallel": None}).raise_for_status()
    assert answers[-1].status_code == 401


def test_a_log_that_is_followed_ends(daemon: DaemonProcess, join: Join) -> None:
    """Streams of the control plane end, too: the connection breaks off."""
    member = join("root", may=["superuser"])
    with member.http.stream("GET", "/logs", params={"follow": "1"}) as stream:
        pieces = stream.iter_raw()
        next(pieces)
        member.edit(may=["session"])
        with pytest.raises(httpx.HTTPError):
            for _ in pieces:
                pass
    assert member.http.get("/logs").status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "tiny", "prompt": "x", "max_tokens": 1}),
        ("/v1/messages", {"model": "tiny", **CHAT}),
        ("/api/generate", {"model": "tiny", "prompt": "x", "options": {"num_predict": 1}}),
    ],
)
def test_limits(daemon: DaemonProcess, join: Join, path: str, body: dict[str, Any]) -> None:
    """429 with Retry-After and the limit's name, in each API's own form; others are served."""
    ann, bob = join("ann", limits={"requests_per_minute": 2}), join("bob")
    for _ in range(2):
        assert ann.http.post(path, json=body).status_code == 200
    refused = ann.http.post(path, json=body)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert "requests_per_minute" in refused.text
    error = refused.json()
    if path.startswith("/api/"):
        assert isinstance(error["error"], str)
    elif "messages" in path:
        assert error["error"]["type"] == "rate_limit_error"
    else:
        assert error["error"]["code"] == "limit_reached"
    assert bob.http.post(path, json=body).status_code == 200


def test_limits_of_requests_at_once_and_tokens(daemon: DaemonProcess, join: Join) -> None:
    """A stream counts until it has ended; tokens are those that the engine has told."""
    member = join("ann", limits={"concurrent_requests": 1})
    body = {"model": "tiny", "prompt": "x", "max_tokens": 5, "ignore_eos": True}
    with streaming(member) as stream:
        lines = stream.iter_lines()
        next(lines)
        refused = member.http.post("/v1/completions", json=body)
        assert refused.status_code == 429
        assert "concurrent_requests" in refused.text

    def free() -> bool:
        return bool(member.http.post("/v1/completions", json=body).status_code == 200)

    wait_for(free, "the stream to have ended")
    member.edit(limits={"concurrent_requests": None, "tokens_per_day": 5})
    assert member.http.post("/v1/completions", json=body).status_code == 200
    refused = member.http.post("/v1/completions", json=body)
    assert refused.status_code == 429
    assert "tokens_per_day" in refused.text


def test_tokens_of_requests_at_once(daemon: DaemonProcess, join: Join) -> None:
    """A request that is under way has its tokens reserved: no other one goes beyond the day with
    it, and it gets no more than these itself, whatever it asks for.
    """
    member = join("ann", limits={"tokens_per_day": 1500})  # more than lies in buffers
    with streaming(member) as stream:
        lines = stream.iter_lines()
        next(lines)
        refused = member.http.post("/v1/completions", json={"model": "tiny", "prompt": "x"})
        assert (refused.status_code, int(refused.headers["Retry-After"]) < 60) == (429, True)
        assert "tokens_per_day" in refused.text
        assert len([line for line in rest_of(lines) if '"text":' in line]) <= 1500
    refused = member.http.post("/v1/completions", json={"model": "tiny", "prompt": "x"})
    assert refused.status_code == 429


def test_how_long_a_model_is_kept(daemon: DaemonProcess, join: Join) -> None:
    """Who may only use models keeps none loaded for ever; who may load them does."""
    body = {"model": "tiny", "prompt": "", "stream": False, "keep_alive": -1}
    body["options"] = {"num_predict": 1}  # a model of chance may go on to the end of its context
    ann = join("ann")
    told = ann.http.post("/api/generate", json={**body, "prompt": "x"})
    assert told.status_code == 200, told.text
    assert "load_llm" in told.headers["Warning"]

    def kept() -> str:
        [told] = [each["keep_alive"] for each in daemon.ps() if "tiny" in each["model_name"]]
        return str(told)

    assert kept() == "1h0m0s"
    bob = join("bob", may=["session", "load_llm"])
    bob.http.post("/api/generate", json={**body, "prompt": "x"}).raise_for_status()
    assert kept() == "-1"
    ann.http.post("/api/generate", json={**body, "prompt": "x", "keep_alive": "5m"})


def test_a_placeholder_instead_of_a_key(daemon: DaemonProcess, join: Join) -> None:
    """It was heeded by nobody before there were keys: who sends it is told that it is none."""
    join("ann")
    told = daemon.http.get("/v1/models", headers={"Authorization": "Bearer unused"})
    assert told.status_code == 401
    assert "placeholder" in told.json()["error"]["message"]
    wrong = daemon.http.get("/v1/models", headers={"Authorization": f"Bearer {'x' * 43}"})
    assert wrong.status_code == 401
    assert "placeholder" not in wrong.text


def test_the_limit_of_the_context(daemon: DaemonProcess, join: Join) -> None:
    """A response gets what the request leaves, whatever it asks for; too long a one gets 429."""
    member = join("ann", limits={"context": 20})
    body = {"model": "tiny", "prompt": "x" * 40, "max_tokens": 500, "ignore_eos": True}
    told = member.http.post("/v1/completions", json=body).json()
    assert told["usage"]["completion_tokens"] == 10
    refused = member.http.post("/v1/completions", json=body | {"prompt": "x" * 100})
    assert refused.status_code == 429
    assert "context" in refused.text


def test_transfers_belong_to_who_began_them(daemon: DaemonProcess, join: Join) -> None:
    """Another's pull is as unknown as one that there never was."""
    bob = join("bob", may=["download_llm", "view_llms"])
    assert bob.http.get("/models/pulls").json() == []
    assert bob.http.delete("/models/pulls/0").status_code == 404
    some = join("ann", may=["download_llm"], models=["hf.co/org/*"])
    refused = some.http.post("/models/create", json={"from": "ai/other"})
    assert refused.status_code == 403


def test_a_higher_priority_is_served_first(daemon: DaemonProcess, join: Join) -> None:
    """Of those who wait for a place, whoever came first."""
    daemon.http.post("/models/tiny/configure", json={"parallel": 1}).raise_for_status()
    busy, low, high = join("busy"), join("low"), join("high", limits={"priority": 1})
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1}

    def ask(member: Member) -> threading.Thread:
        before = waiting()
        thread = threading.Thread(target=lambda: member.http.post("/v1/completions", json=body))
        thread.start()
        wait_for(lambda: waiting() > before, "the request to wait")
        return thread

    def waiting() -> int:
        return sum(runner["waiting"] for runner in daemon.ps())

    with streaming(busy) as stream:
        lines = stream.iter_lines()
        next(lines)
        asking = [ask(low), ask(high)]
        busy.revoke()
    for thread in asking:
        thread.join()
    daemon.http.post("/models/tiny/configure", json={"parallel": None}).raise_for_status()
    records = {each["principal"]: each for each in daemon.http.get("/engines/requests").json()}
    began = {
        name: records[f"user {member.id}"]["timestamp"]
        + records[f"user {member.id}"]["waited_seconds"]
        for name, member in (("low", low), ("high", high))
    }
    assert began["high"] < began["low"]


def test_a_runners_own_socket(daemon: DaemonProcess, join: Join) -> None:
    """The same keys and permissions, although its file lets only the owner connect."""
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1}
    daemon.http.post("/v1/completions", json=body).raise_for_status()
    socket = next(each["socket"] for each in daemon.ps() if "tiny" in each["model_name"])
    bare = join("bare", may=["bare_model"])
    transport = httpx.HTTPTransport(uds=socket, verify=NO_TLS)
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as http:

        def status(member: Member | None, key: str = "") -> int:
            key = member.key if member is not None else key
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            response = http.post("/v1/completions", json=body, headers=headers)
            assert response.is_success or response.json()["error"]["message"]
            challenged = "WWW-Authenticate" in response.headers
            assert challenged is (response.status_code == 401)
            return response.status_code

        assert status(None) == 200
        assert status(bare) == 200
        assert status(join("ann")) == 403
        assert status(join("bob", may=["bare_model"], models=["ai/none"])) == 404
        assert status(None, "w" * 43) == 401
        bare.revoke()
        assert status(bare) == 401


def test_wrong_keys_cost_others_nothing(daemon: DaemonProcess, join: Join) -> None:
    """Ten thousand of them leave nothing behind, and whoever has a key is served meanwhile."""
    member = join("ann")
    together = 100
    with Wire(daemon.socket) as wire:
        for start in range(0, 10_000, together):
            numbers = range(start, start + together)
            wire.send(b"".join(get("/models", f"x-api-key: {number:043}") for number in numbers))
            assert {wire.read().status for _ in numbers} == {401}
            if start % 1000 == 0:
                assert member.http.get("/models").status_code == 200
    log = daemon.text()
    assert "0" * 30 not in log
    assert member.key not in log
