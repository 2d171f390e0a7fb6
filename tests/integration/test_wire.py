"""The front over raw sockets: framing, order, limits, and what a hostile client may try."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running, seen_process
from tests.support.waiting import SECONDS, wait_for
from tests.support.wire import Wire, get, post

CHAT = {"model": "tiny", "prompt": "x", "max_tokens": 3}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon whose limits are small enough to be met by a test."""
    env = {
        "RUNNERD_LIMITS__BODY_BYTES": "100000",
        "RUNNERD_LIMITS__HEAD_BYTES": "8000",
        "RUNNERD_LIMITS__HEAD_TIMEOUT": "0.5",
        "RUNNERD_LIMITS__BODY_TIMEOUT": "0.5",
    }
    with running(tmp_path_factory.mktemp("wire"), env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


@pytest.fixture
def wire(daemon: DaemonProcess) -> Iterator[Wire]:
    """One raw connection."""
    with Wire(daemon.socket) as wire:
        yield wire


@pytest.mark.engine
def test_both_kinds_of_requests_share_a_connection(wire: Wire) -> None:
    """Control and inference requests follow each other on one connection, in any order."""
    for _ in range(3):
        wire.send(get("/version"))
        assert "version" in wire.read().json()
        wire.send(post("/v1/completions", CHAT))
        assert wire.read().json()["object"] == "text_completion"
        wire.send(post("/v1/completions", CHAT | {"stream": True}))
        assert wire.read().body.rstrip().endswith(b"data: [DONE]")


@pytest.mark.engine
def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    """A hundred requests sent at once, of both kinds, come back in their order."""
    wire.send(
        b"".join(
            get("/version", f"X-Request-Id: {n}")
            if n % 3
            else post("/v1/completions", CHAT, f"X-Request-Id: {n}")
            for n in range(100)
        )
    )
    answers = [wire.read() for _ in range(100)]
    assert [response.headers["x-request-id"] for response in answers] == [
        str(n) for n in range(100)
    ]
    assert {response.status for response in answers} == {200}


@pytest.mark.engine
def test_same_request_again_however_it_arrives(wire: Wire) -> None:
    """A head that was read before is answered the same, whole, in pieces or with more behind it."""
    request = post("/v1/completions", CHAT)
    longer = post("/v1/completions", CHAT | {"prompt": "x" * 1000})
    for pieces in (
        [request],
        [request],
        [longer],
        [request + request],
        [request + get("/version") + longer],
        [request[:20], request[20:-10], request[-10:]],
        [request[:-1], request[-1:] + request],
        [b"\r\n" + request],
        [request],
    ):
        for piece in pieces:
            wire.send(piece)
        answers = [wire.read() for _ in range(b"".join(pieces).count(b" HTTP/1.1"))]
        assert {response.status for response in answers} == {200}
        ids = [response.headers["x-request-id"] for response in answers]
        assert len(set(ids)) == len(ids)


@pytest.mark.engine
@pytest.mark.parametrize(
    "change",
    [
        (b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
        (b"Host: localhost", b"Host: localhost\r\nHost: b"),
        (b"Content-Length: ", b"Content-Length: +"),
        (b"Content-Length: ", b"Content-Length : "),
    ],
)
def test_hostile_change_of_a_known_head_is_refused(wire: Wire, change: tuple[bytes, bytes]) -> None:
    """That a head was good does not make a similar one good."""
    request = post("/v1/completions", CHAT)
    for _ in range(2):
        wire.send(request)
        assert wire.read().status == 200
    wire.send(request.replace(*change, 1))
    assert wire.read().status == 400
    wire.socket.shutdown(1)
    assert wire.ended()


@pytest.mark.engine
def test_chunked_request_bodies_are_read(wire: Wire) -> None:
    """A body in chunks is a body, for inference and for the control plane."""
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = b'10\r\n{"model": "tiny"\r\n1e\r\n, "prompt":"a","max_tokens":1}\r\n0\r\n\r\n'
    wire.send(head % b"/v1/completions" + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert wire.read().status == 200
    wire.send(
        head % b"/engines/unload" + b"Transfer-Encoding: chunked\r\n\r\n"
        b'6\r\n{"all"\r\n6\r\n:true}\r\n0\r\n\r\n'
    )
    assert wire.read().json() == {"unloaded_runners": 1}


@pytest.mark.engine
def test_http10_gets_an_unchunked_answer_and_a_close(daemon: DaemonProcess) -> None:
    """An old client gets its stream without chunks, ended by the end of the connection."""
    for stream in (True, False):
        with Wire(daemon.socket) as wire:
            request = post("/v1/completions", CHAT | {"stream": stream})
            wire.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            response = wire.read()
            assert "transfer-encoding" not in response.headers
            assert response.body
            assert wire.ended()


def test_expect_continue(wire: Wire) -> None:
    """100 Continue is sent when the head is acceptable, and not when it is refused."""
    request = post("/v1/completions", CHAT, "Expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    assert wire.read().status == 100
    wire.send(body)
    assert wire.read().status == 200
    wire.send(head.replace(b"application/json", b"text/plain") + b"\r\n\r\n")
    assert wire.read().status == 415


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GARBAGE\r\n\r\n", 400, id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, id="TLS hello"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"GET http://x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="absolute form"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, id="space before colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, id="folded line"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
        pytest.param(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, id="TRACE"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="CONNECT"),
        pytest.param(post("/v1/completions", CHAT, "Content-Length: 5"), 400, id="two lengths"),
        pytest.param(
            post("/v1/completions", CHAT, "Transfer-Encoding: chunked"), 400, id="both framings"
        ),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            400, id="negative length",
        ),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n",
            400, id="odd length",
        ),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            400, id="other coding",
        ),
        pytest.param(
            b"POST /models/load HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            400, id="identity coding",
        ),
        pytest.param(
            b"POST /v1/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            400, id="chunked in 1.0",
        ),
        pytest.param(
            b"POST /engines/unload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400, id="bad chunk",
        ),
        pytest.param(
            post("/v1/completions", CHAT, "Expect: the-unexpected"), 417, id="expectation"
        ),
        pytest.param(get("/", *(f"X-{n}: 1" for n in range(200))), 431, id="many headers"),
        pytest.param(get("/", "X: " + "a" * 9000), 431, id="long header"),
        pytest.param(b"GET /" + b"a" * 9000, 431, id="endless target"),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000000000\r\n\r\n",
            413, id="announced body",
        ),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n30000\r\n" + b"a" * 0x30000,
            413, id="arriving body",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHos", 408, id="slow head"),
        pytest.param(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50\r\n\r\n{",
            408, id="slow body",
        ),
    ],
)  # fmt: skip
def test_bad_request_is_refused_and_hung_up_on(
    daemon: DaemonProcess, wire: Wire, request_bytes: bytes, status: int
) -> None:
    """One refusal, then the end of the connection; nothing behind it is read as a request."""
    before = len(daemon.http.get("/engines/requests").json())
    wire.send(request_bytes)
    response = wire.read()
    assert response.status == status, response.body
    assert response.json()["error"]["message"]
    wire.socket.shutdown(1)
    assert wire.ended()
    assert len(daemon.http.get("/engines/requests").json()) == before


OFFERS = [
    ["Connection: Upgrade", "Upgrade: websocket"],
    [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ],
]


@pytest.mark.engine
@pytest.mark.parametrize("offer", OFFERS, ids=["websocket", "h2c"])
def test_offer_to_upgrade_is_ignored(wire: Wire, offer: list[str]) -> None:
    """The request is answered as any other, on both planes, and the connection goes on."""
    for _ in range(2):
        wire.send(get("/version", *offer))
        assert "version" in wire.read().json()
        wire.send(post("/v1/completions", CHAT, *offer))
        assert wire.read().json()["object"] == "text_completion"
        wire.send(post("/v1/completions", CHAT | {"stream": True}, *offer))
        assert wire.read().body.rstrip().endswith(b"data: [DONE]")
        wire.send(post("/api/show", {"model": "tiny"}, *offer))
        assert "details" in wire.read().json()
    wire.send(post("/v1/completions", CHAT, *offer, "Connection: close"))
    assert wire.read().status == 200
    assert wire.ended()


@pytest.mark.engine
def test_offers_to_upgrade_among_pipelined_requests(wire: Wire) -> None:
    """Sent at once or in pieces, with a body of either framing: each is answered, in order."""
    ask = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    offer = "\r\n".join(OFFERS[1]).encode() + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    sent = [
        post("/v1/completions", CHAT),
        post("/v1/completions", CHAT, *OFFERS[1]),
        ask % b"/v1/completions" + offer + chunked +
        b'10\r\n{"model": "tiny"\r\n1e\r\n, "prompt":"a","max_tokens":1}\r\n0\r\n\r\n',
        ask % b"/api/show" + offer + chunked + b'10\r\n{"model": "tiny"\r\n1\r\n}\r\n0\r\n\r\n',
        get("/version", *OFFERS[0]),
        post("/api/show", {"model": "tiny"}, *OFFERS[0]),
        post("/v1/completions", CHAT),
    ]  # fmt: skip
    whole = b"".join(sent)
    for size in (len(whole), 1000, 97):
        for at in range(0, len(whole), size):
            wire.send(whole[at : at + size])
        answers = [wire.read() for _ in sent]
        assert {response.status for response in answers} == {200}
        kinds = [next(iter(response.json())) for response in answers]
        assert [kind in ("details", "license", "modelfile", "version") for kind in kinds] == [
            *(False, False, False, True, True, True, False)
        ]


@pytest.mark.parametrize("path", ["/v1/completions", "/api/show"])
@pytest.mark.parametrize("offer", OFFERS, ids=["websocket", "h2c"])
def test_nothing_embedded_in_a_body_is_a_request(
    daemon: DaemonProcess, wire: Wire, path: str, offer: list[str]
) -> None:
    """An offer does not end the message early: its body is not read as another request."""
    evil = get("/version", "X-Request-Id: evil")
    head = post(path, {}, *offer).partition(b"\r\n\r\n")[0]
    head = head.replace(b"Content-Length: 2", b"Content-Length: %d" % len(evil))
    wire.send(head + b"\r\n\r\n" + evil + get("/version", "X-Request-Id: good"))
    assert wire.read().status == 400
    response = wire.read()
    assert (response.status, response.headers["x-request-id"]) == (200, "good")


@pytest.mark.engine
@pytest.mark.parametrize("body", [["-d"], ["-H", "Transfer-Encoding: chunked", "-d"]])
def test_curl_that_offers_http2(daemon: DaemonProcess, body: list[str]) -> None:
    """`curl --http2` gets its responses, over one connection."""
    if (curl := shutil.which("curl")) is None:
        pytest.skip("there is no curl here")
    document = json.dumps(CHAT)
    json_type = ["-H", "Content-Type: application/json"]
    asked = [*json_type, *body, document, f"{daemon.address}/v1/completions"]
    shown = [*json_type, *body, '{"model": "tiny"}', f"{daemon.address}/api/show"]
    common = ["-sS", "--http2", "--max-time", "60", "-w", "\n%{http_code} %{num_connects}\n"]
    done = subprocess.run(
        [curl, *common, *asked, "--next", *common, *shown, "--next", *common, *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = [line for line in done.stdout.splitlines() if line[:3].isdigit()]
    assert codes == ["200 1", "200 0", "200 0"], done.stdout


@pytest.mark.engine
def test_java_that_offers_http2(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The JDK's own client, which offers h2c with every request unless it is told not to."""
    java = shutil.which("java")
    if java is None:
        pytest.skip("there is no Java here")
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False)
    if "jdk.compiler" not in modules.stdout or "java.net.http" not in modules.stdout:
        pytest.skip("this Java is no JDK: it cannot run a source file, or has no HTTP client")
    program = Path(__file__).parents[1] / "support" / "OffersHttp2.java"
    done = subprocess.run(
        [java, str(program), daemon.address, json.dumps(CHAT), '{"model": "tiny"}'],
        capture_output=True,
        text=True,
        check=False,
        timeout=120 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "HTTP_1_1"] * 8, done.stdout + done.stderr


def test_head_has_no_body(wire: Wire) -> None:
    """HEAD is answered as GET without the body, and the connection goes on."""
    wire.send(get("/version").replace(b"GET", b"HEAD", 1))
    assert wire.read(head_only=True).status == 200
    wire.send(get("/version"))
    assert wire.read().status == 200


@pytest.mark.parametrize(
    "path", ["//version", "/version/", "/VERSION", "/v1/../version", "/%76ersion", "/version%00"]
)
def test_odd_spelling_of_a_path_is_the_path_or_nothing(wire: Wire, path: str) -> None:
    """A path written in another way is the same resource or 404, never another one."""
    wire.send(get(path))
    response = wire.read()
    assert response.status in (200, 404, 400)
    if response.status == 200:
        assert set(response.json()) == {"version"}


@pytest.mark.engine
def test_hop_by_hop_and_control_headers_do_not_reach_the_engine(
    daemon: DaemonProcess, wire: Wire
) -> None:
    """X-Conversation-Id would make the engine go on after its client has left."""
    wire.send(post("/v1/completions", CHAT, "X-Conversation-Id: 1", "Connection: X-A", "X-A: b"))
    assert wire.read().status == 200
    [runner] = daemon.ps()
    own = Path(runner["socket"].replace(".sock", "/e.sock"))
    with Wire(own) as engine:
        engine.send(get("/v1/stream?conv_id=1"))
        assert engine.read().status >= 400


def test_thousand_idle_connections_come_and_go(daemon: DaemonProcess) -> None:
    """Many open connections do not keep others from being served, and leave nothing behind."""
    before = open_descriptors(daemon)
    wires = [Wire(daemon.socket) for _ in range(1000)]
    assert daemon.http.get("/version").status_code == 200
    for wire in wires:
        wire.__exit__(None, None, None)
    wait_for(lambda: open_descriptors(daemon) <= before + 2, "the descriptors to be closed")


def open_descriptors(daemon: DaemonProcess) -> int:
    """How many files the daemon has open.  Root alone is shown that: others count its sockets."""
    assert daemon.process is not None
    if os.getuid() == 0:
        return seen_process(daemon.process.pid).num_fds()
    path = str(daemon.socket)
    return Path("/proc/net/unix").read_text().split().count(path)
