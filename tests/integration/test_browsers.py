"""Web pages, apps and names of this host, over the real wire, as browsers and containers ask."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

PAGE = "http://localhost:3000"
CHAT = {"model": "absent", "messages": [{"role": "user", "content": "x"}]}

# What the preflights of real clients ask for: OpenAI's and Anthropic's JavaScript libraries.
OPENAI_JS = (
    "authorization,content-type,openai-organization,openai-project,x-stainless-arch,"
    "x-stainless-lang,x-stainless-os,x-stainless-package-version,x-stainless-retry-count,"
    "x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout"
)
ANTHROPIC_JS = (
    "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,content-type,"
    "x-api-key,x-stainless-helper-method"
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on loopback."""
    with running(tmp_path_factory.mktemp("d")) as daemon:
        yield daemon


@pytest.fixture
def http(daemon: DaemonProcess) -> Iterator[httpx.Client]:
    """A client over TCP, as a browser is one."""
    with httpx.Client(base_url=daemon.address, verify=NO_TLS) as client:
        yield client


def preflight(http: httpx.Client, path: str, origin: str, names: str) -> httpx.Response:
    """Ask as a browser does before a request that is not simple."""
    return http.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": names,
            "Access-Control-Request-Private-Network": "true",
        },
    )


@pytest.mark.parametrize("names", [OPENAI_JS, ANTHROPIC_JS])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/models"])
def test_preflight_allows_what_clients_send(http: httpx.Client, path: str, names: str) -> None:
    """All headers that an allowed page wants to send, and the way from another network."""
    response = preflight(http, path, PAGE, names)
    assert response.status_code == 204
    allowed = response.headers["access-control-allow-headers"].lower().split(",")
    assert {name.strip() for name in allowed} >= set(names.split(","))
    assert response.headers["access-control-allow-origin"] == PAGE
    assert response.headers["access-control-allow-private-network"] == "true"
    assert "Origin" in response.headers["vary"]
    assert {"GET", "POST", "DELETE"} <= set(
        response.headers["access-control-allow-methods"].replace(",", " ").split()
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat/completions", 404),  # the relay's own errors
        ("POST", "/v1/messages", 404),
        ("POST", "/api/chat", 404),
        ("POST", "/engines/v1/embeddings", 400),
        ("GET", "/models/absent", 404),  # the control plane's
        ("GET", "/nowhere", 404),
        ("PUT", "/models", 405),
        ("TRACE", "/models", 405),  # what is refused by its head
        ("GET", "/v1/models", 200),
        ("GET", "/logs", 200),  # a stream
    ],
)
def test_page_can_read_every_response(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    """Errors too, with the headers that say what to do."""
    body = CHAT if status == 404 else {}
    response = http.request(
        method, path, json=body if method == "POST" else None, headers={"Origin": PAGE}
    )
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == PAGE
    exposed = response.headers["access-control-expose-headers"].lower()
    for name in ("x-request-id", "retry-after", "warning"):
        assert name in exposed
    assert response.headers["x-request-id"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", {"prompt": "x", "stream": True}),
        ("/v1/responses", {"input": "x", "stream": True}),
        ("/v1/messages", {**CHAT, "stream": True}),
        ("/api/chat", CHAT),
        ("/api/generate", {"prompt": "x"}),
    ],
)
def test_proxies_pass_streams_on(
    daemon: DaemonProcess, http: httpx.Client, gguf: Path, path: str, body: dict[str, object]
) -> None:
    """A stream says that it must be neither kept back nor kept, in every API."""
    daemon.import_model(gguf / "tiny.gguf", "tiny")
    limits = {"max_tokens": 2, "max_output_tokens": 2, "options": {"num_predict": 2}}
    named = {name: value for name, value in limits.items() if _takes(path, name)}
    with http.stream("POST", path, json={**body, **named, "model": "tiny"}) as response:
        response.read()
    assert response.status_code == 200, response.text
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-cache"


def _takes(path: str, name: str) -> bool:
    if path.startswith("/api/"):
        return name == "options"
    return name == ("max_output_tokens" if path.endswith("responses") else "max_tokens")


@pytest.mark.parametrize("path", ["/logs", "/models/load"])
def test_proxies_pass_progress_on(daemon: DaemonProcess, gguf: Path, path: str) -> None:
    """Streams of the control plane say the same."""
    if path == "/logs":
        response = daemon.http.get(path)
    else:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        archive = daemon.http.get("/models/tiny/export").content
        response = daemon.http.post(path, content=archive)
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-cache"


def test_head_that_is_too_large_can_be_read(http: httpx.Client) -> None:
    """What is refused before the origin is looked at is refused to an allowed page in words."""
    response = http.get("/models", headers={"Origin": PAGE, **{f"x-{n}": "" for n in range(200)}})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (431, PAGE)


@pytest.mark.parametrize("origin", ["https://evil.com", "http://localhost.evil.com", "null"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_foreign_site_is_refused_and_learns_nothing(
    daemon: DaemonProcess, http: httpx.Client, origin: str, method: str
) -> None:
    """No header lets it read; the body and the log name the remedy for who has one."""
    response = http.request(method, "/v1/models", headers={"Origin": origin})
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert f"RUNNERD_ALLOWED_ORIGINS={origin}" in response.text
    assert f"refused a page of {origin}" in daemon.text()


def test_extension_can_read_what_its_owner_has_to_do(http: httpx.Client) -> None:
    """An installed program is told; it is refused all the same."""
    origin = "chrome-extension://abcdef"
    assert preflight(http, "/api/chat", origin, "content-type").status_code == 204
    response = http.post("/api/chat", json=CHAT, headers={"Origin": origin})
    assert response.status_code == 403
    assert response.headers["access-control-allow-origin"] == origin
    assert f"RUNNERD_ALLOWED_ORIGINS={origin}" in response.text


def test_rebound_name_is_refused_with_the_remedy(http: httpx.Client) -> None:
    """A foreign name in Host, with whatever Origin."""
    for headers in ({}, {"Origin": "http://evil.com"}, {"Origin": PAGE}):
        response = http.get("/v1/models", headers={"Host": "evil.com", **headers})
        assert response.status_code == 403
    assert "RUNNERD_ALLOWED_HOSTS=evil.com" in response.text


@pytest.mark.parametrize("name", ["host.docker.internal:12434", "model-runner.docker.internal"])
def test_containers_name_for_us(http: httpx.Client, name: str) -> None:
    """Containers reach this host by a name that their runtime made."""
    assert http.get("/v1/models", headers={"Host": name}).status_code == 200


def test_names_beyond_loopback(tmp_path: Path) -> None:
    """This machine's name and addresses are the daemon's; the log says what it answers to."""
    env = {
        "RUNNERD_ALLOW_REMOTE": "1",
        "RUNNERD_REQUIRE_KEYS": "1",
        "RUNNERD_TLS": "elsewhere",
        "RUNNERD_ALLOWED_HOSTS": "gpu.example, *.corp.example",
    }
    with running(tmp_path / "d", "--listen", "0.0.0.0:0", env=env) as daemon:
        wait_for(lambda: "over TCP it answers to" in daemon.text(), "the names")
        assert "*.corp.example" in daemon.text()
        address = daemon.address.replace("0.0.0.0", "127.0.0.1")
        own = subprocess.run(["uname", "-n"], capture_output=True, text=True).stdout.strip()
        user = {"name": "page", "may": ["view_llms"]}
        key = daemon.http.post("/runnerd/users", json=user).json()["key"]
        with httpx.Client(base_url=address, headers={"x-api-key": key}, verify=NO_TLS) as http:
            for name in (
                own,
                f"{own}.local",
                "192.168.77.5:12434",
                "gpu.example",
                "a.corp.example",
            ):
                assert http.get("/v1/models", headers={"Host": name}).status_code == 200, name
            for name in ("evil.com", f"{own}.evil.com", "evil.lan"):
                assert http.get("/v1/models", headers={"Host": name}).status_code == 403, name
            headers = {"Host": f"{own}.local:12434", "Origin": f"http://{own}.local:8080"}
            assert http.get("/v1/models", headers=headers).status_code == 200


def test_wrong_pattern_on_reload_changes_nothing(tmp_path: Path) -> None:
    """SIGHUP takes all or nothing, also of what only the relay can judge."""
    file = tmp_path / "runnerd.toml"
    file.write_text("turn = 2.0\n")
    with running(tmp_path / "d", "--config", str(file)) as daemon:
        file.write_text('turn = 3.0\nallowed_origins = ["localhost:3000"]\n')
        daemon.reload()
        assert "the settings stay as they were: allowed_origins" in daemon.text()
        assert daemon.http.get("/health").status_code == 200


@pytest.mark.parametrize("variable", ["RUNNERD_ALLOWED_ORIGINS", "RUNNERD_ALLOWED_HOSTS"])
def test_wrong_pattern_at_the_start(tmp_path: Path, variable: str) -> None:
    """It ends the start, before anything is made."""
    with running(tmp_path / "d", env={variable: "a b"}, ready=False) as daemon:
        assert daemon.process is not None
        assert daemon.process.wait(60) == 1
        assert variable.removeprefix("RUNNERD_").lower() in daemon.text()
