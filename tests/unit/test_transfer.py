"""One file from a server that breaks, stalls, lies or changes: whole, or a clear error."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from yarl import URL

from runnerd.errors import InvalidModelFile, SourceFailure, SourceTimeout
from runnerd.models.blob_writer import Pending
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout
from runnerd.models.manifest import GGUF_TYPE
from runnerd.models.part_journal import PIECE_BYTES
from runnerd.models.parts import JOURNAL_BYTES, Part
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.offer import OfferedFile, Remote
from runnerd.pulls.transfer import Transfer
from tests.support.fileserver import FileServer, serving
from tests.support.waiting import SECONDS

CONTENT = b"GGUF" + hashlib.shake_128(b"weights").digest(5 * PIECE_BYTES + 4321)
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server with five pieces and a bit."""
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
async def http(no_task_left: None) -> AsyncIterator[Outbound]:
    """A way out that may reach loopback.  It is patient: a busy machine is no stall."""
    outbound = Outbound(AllowedSources.parse(["127.0.0.1"]), stall_timeout=30 * SECONDS)
    yield outbound
    await outbound.close()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty store's folders."""
    layout = Layout(tmp_path / "store")
    layout.create()
    return layout


@pytest.fixture
async def impatient(fetch: Fetch, no_task_left: None) -> AsyncIterator[None]:
    """Let the transfer soon call silence a stall."""
    fetch.http = Outbound(AllowedSources.parse(["127.0.0.1"]), stall_timeout=0.5)
    yield
    await fetch.http.close()


class Fetch:
    """Fetches the server's file into a part of its own."""

    def __init__(self, server: FileServer, http: Outbound, layout: Layout) -> None:
        self._layout = layout
        self.server = server
        self.http = http
        self.digest: Digest | None = DIGEST
        self.size: int | None = len(CONTENT)
        self.part = Part(layout, DIGEST)

    async def __call__(self, workers: int = 3) -> Pending:
        remote = Remote(self.http, URL(self.server.url()), verified=self.digest is not None)
        file = OfferedFile("model.gguf", GGUF_TYPE, remote, self.digest, self.size)
        self.part = Part(self._layout, DIGEST)
        self.part.open(self.size)
        try:
            return await Transfer(file, self.part, workers=workers, first_pause=0.01).run()
        finally:
            self.part.close()

    @property
    def left(self) -> list[str]:
        """What is in the folder of parts."""
        return sorted(path.name for path in self._layout.parts.iterdir())


@pytest.fixture
def fetch(server: FileServer, http: Outbound, layout: Layout) -> Fetch:
    """What the tests call."""
    return Fetch(server, http, layout)


def check(pending: Pending) -> None:
    """Assert that a file came whole."""
    assert pending.digest == DIGEST
    assert pending.temporary.read_bytes() == CONTENT


@pytest.mark.parametrize("workers", [1, 3, 16])
async def test_pieces_in_parallel(fetch: Fetch, workers: int) -> None:
    """Every piece is asked for once, and the whole is right."""
    check(await fetch(workers))
    ranges = fetch.server.ranges()
    assert len(ranges) == len(set(ranges)) == 6
    assert fetch.server.sent == len(CONTENT)


async def test_server_without_ranges(fetch: Fetch) -> None:
    """A 200 is taken as the whole file."""
    fetch.server.behaviour.ranges = False
    check(await fetch())
    assert len(fetch.server.seen) == 1


async def test_nothing_is_known_of_the_file(fetch: Fetch) -> None:
    """Neither size nor digest nor validator: one stream to its end."""
    fetch.digest = fetch.size = None
    behaviour = fetch.server.behaviour
    behaviour.ranges, behaviour.length, behaviour.etag = False, False, None
    check(await fetch())


async def test_parts_are_not_mixed_without_a_validator(fetch: Fetch) -> None:
    """Where nothing proves that two answers are of one file, one answer has to do."""
    fetch.digest = fetch.size = None
    fetch.server.behaviour.etag = 'W/"weak"'
    check(await fetch())
    assert fetch.server.ranges()[-1] == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("stalls", [False, True])
async def test_breaks_and_stalls_go_on_where_they_were(fetch: Fetch, stalls: bool) -> None:
    """Answers that end early or fall silent are continued, but for what was still in buffers."""
    behaviour = fetch.server.behaviour
    behaviour.breaks, behaviour.break_after, behaviour.stalls = 4, 5 * 2**20, stalls
    check(await fetch(workers=1))
    assert fetch.server.sent <= len(CONTENT) + 4 * 3 * 2**20
    assert any(seen.headers.get("if-range") == '"one"' for seen in fetch.server.seen)


async def test_hopeless_server_is_given_up(fetch: Fetch) -> None:
    """Attempts without a new byte are bounded; then the error says what was wrong."""
    behaviour = fetch.server.behaviour
    behaviour.breaks, behaviour.break_after = 1000, 0
    with pytest.raises(SourceFailure, match=r"broke|before its end"):
        await fetch()
    assert len(fetch.server.seen) < 40
    behaviour.status = 503
    with pytest.raises(SourceFailure, match="503"):
        await fetch()


@pytest.mark.usefixtures("impatient")
async def test_silent_server_is_given_up(fetch: Fetch) -> None:
    """A server that never sends a byte is a time-out."""
    behaviour = fetch.server.behaviour
    behaviour.breaks, behaviour.break_after, behaviour.stalls = 1000, 0, True
    with pytest.raises(SourceTimeout):
        await fetch(workers=1)


async def test_resumed_after_cancellation(fetch: Fetch) -> None:
    """What has arrived when a transfer is cancelled is not asked for again."""
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def pace(sent: int) -> None:
        if sent >= 3 * PIECE_BYTES:
            loop.call_soon_threadsafe(reached.set)
            fetch.server.release.wait(30)

    fetch.server.behaviour.pace = pace
    task = asyncio.get_running_loop().create_task(fetch(workers=1))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fetch.server.release.set()
    fetch.server.behaviour.pace = lambda sent: None
    before = fetch.server.sent
    check(await fetch())
    assert fetch.server.sent - before <= len(CONTENT) - 2 * PIECE_BYTES


async def test_journal_lags_by_a_bounded_amount(fetch: Fetch) -> None:
    """A journal that a killed daemon left costs at most what is in flight and not yet noted."""
    check(await fetch())
    journal = fetch.part._layout.journal(DIGEST)
    assert 2 * JOURNAL_BYTES + 16 * 2 * 2**20 <= 64 * 2**20
    assert journal.exists()
    before = fetch.server.sent
    check(await fetch())
    assert fetch.server.sent - before <= 2 * JOURNAL_BYTES


async def test_changed_file_is_begun_anew(fetch: Fetch) -> None:
    """A part of another version of the file is never continued."""
    check(await fetch())
    fetch.server.behaviour.etag = '"two"'
    other = b"GGUF" + bytes(len(CONTENT) - 4)
    fetch.server.behaviour.content = other
    fetch.digest = None
    journal = fetch.part._layout.journal(DIGEST)
    content = journal.read_bytes().replace(b'"0":', b'"3":')
    journal.write_bytes(content)
    assert (await fetch()).temporary.read_bytes() == other


async def test_wrong_bytes_are_removed(fetch: Fetch) -> None:
    """A wrong digest is an error that names both, and nothing of it is kept."""
    fetch.server.behaviour.content = CONTENT[:-1] + b"!"
    with pytest.raises(SourceFailure, match=DIGEST.hex):
        await fetch()
    assert fetch.left == []
    fetch.server.behaviour.content = CONTENT
    check(await fetch())


@pytest.mark.parametrize("shift", [-1, 1])
async def test_wrong_size_is_refused(fetch: Fetch, shift: int) -> None:
    """A server that states another size than the manifest is not believed."""
    fetch.server.behaviour.shift = shift
    with pytest.raises(SourceFailure, match="should be"):
        await fetch()


async def test_other_range_than_asked_for_is_refused(fetch: Fetch) -> None:
    """A 206 has to be of exactly the range that was asked for."""
    fetch.server.behaviour.wrong_range = True
    with pytest.raises(SourceFailure, match="another part"):
        await fetch()


async def test_web_page_is_noticed_at_once(fetch: Fetch) -> None:
    """What is no GGUF is refused by its first bytes, not after all of it."""
    fetch.digest = None
    fetch.server.behaviour.content = b"<!doctype html>" + CONTENT
    fetch.size = None
    with pytest.raises(InvalidModelFile, match="not a GGUF"):
        await fetch(workers=1)
    assert fetch.server.sent < 2 * PIECE_BYTES


async def test_compressed_answer_is_refused(fetch: Fetch) -> None:
    """An encoding that nobody asked for could be a bomb."""
    fetch.server.behaviour.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(SourceFailure, match="encoded"):
        await fetch()


async def test_server_that_allows_one_connection(fetch: Fetch) -> None:
    """The others are refused, the one goes on, and nothing is asked for twice."""
    fetch.server.behaviour.at_most = 1
    check(await fetch(workers=8))
    assert fetch.server.sent == len(CONTENT)
    assert 1 <= fetch.server.refused < 8  # after that it is one connection


async def test_server_that_drops_further_connections(fetch: Fetch) -> None:
    """As one that hangs up instead of saying so."""

    def pace(sent: int) -> None:
        if fetch.server.at_once > 1:
            raise ConnectionResetError

    fetch.server.behaviour.pace = pace
    check(await fetch(workers=8))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_server_that_refuses_every_second_request(fetch: Fetch, status: int) -> None:
    """It takes longer, and everything comes once."""
    behaviour = fetch.server.behaviour
    behaviour.every, behaviour.busy = 2, status
    check(await fetch(workers=4))
    assert fetch.server.sent == len(CONTENT)
    assert fetch.server.refused >= 3


@pytest.mark.parametrize("date", [False, True])
async def test_server_is_asked_again_when_it_says(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, date: bool
) -> None:
    """Never before, in seconds or as a date by its own clock."""
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr("runnerd.pulls.transfer.asyncio.sleep", sleep)
    behaviour = fetch.server.behaviour
    behaviour.every = 2
    when = formatdate(time.time() + 200, usegmt=True) if date else "200"
    behaviour.busy_headers = {"Retry_After": when}
    check(await fetch(workers=1))
    assert slept
    assert all((100 if date else 200) <= seconds <= 220 for seconds in slept)


async def test_server_that_wants_to_be_left_alone(fetch: Fetch) -> None:
    """Nobody waits for an hour: the error says what the server says."""
    behaviour = fetch.server.behaviour
    behaviour.every, behaviour.busy_headers = 1, {"Retry_After": "3600"}
    with pytest.raises(SourceFailure, match="503") as failure:
        await fetch()
    assert failure.value.retry_after == 3600
    assert len(fetch.server.seen) == 1
