"""What several files of tests start: engines, daemons with tiny models, Pantry's clients, a fleet's
site.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runnerd.backends.llamacpp import LlamaCppBackend
from runnerd.models import tiny
from tests.support.chats import DEMO, PROMPT, command
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import context
from tests.support.fileserver import FileServer, serving
from tests.support.pantry_daemon import PantryDaemon, pantry_daemon
from tests.support.tmux import Screen, screen

if TYPE_CHECKING:  # a fleet's libraries are loaded where there is a fleet
    from tests.integration.test_worker import Site


# The second engine takes the same tests again, with a slower start; `make test` has it in some.
ENGINES = ("native", pytest.param("python", marks=pytest.mark.long))


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models that this test run has made."""
    folder = tmp_path_factory.mktemp("gguf")
    tiny.write_completion_model(folder / "tiny.gguf", context_length=8192)
    tiny.write_completion_model(folder / "other.gguf", name="other", seed=1)
    tiny.write_embedding_model(folder / "embed.gguf")
    tiny.write_reranking_model(folder / "rerank.gguf")
    return folder


@pytest.fixture(params=ENGINES)
def backend(request: pytest.FixtureRequest, tmp_path: Path, gguf: Path) -> LlamaCppBackend:
    """The backend with one engine and with the other."""
    return LlamaCppBackend(context(tmp_path, gguf, server=request.param))


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "r.sock"


@pytest.fixture(scope="module", params=ENGINES)
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    """A running daemon without models: once with each engine."""
    root = tmp_path_factory.mktemp("daemon")
    settings = root / "runnerd.toml"
    settings.write_text(f'[backends."llama.cpp"]\nserver = "{request.param}"\n')
    with running(root, "--config", str(settings)) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon for what is refused or only looked at; nothing is in it, and nothing changes."""
    with running(tmp_path_factory.mktemp("unchanged")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def daemon(either: DaemonProcess, gguf: Path) -> DaemonProcess:
    """A running daemon with the models imported: once with each engine."""
    for name in ("tiny", "other", "embed", "rerank"):
        either.import_model(gguf / f"{name}.gguf", name)
    return either


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A running daemon with the models imported and the native engine."""
    with running(tmp_path_factory.mktemp("native")) as daemon:
        for name in ("tiny", "other", "embed", "rerank"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a."""
    with running(tmp_path_factory.mktemp("conversation")) as daemon:
        daemon.import_model(DEMO, "demo-a")
        yield daemon


@pytest.fixture
def terminal(chatty: DaemonProcess, tmp_path: Path) -> Iterator[Screen]:
    """A conversation with demo-a that has begun."""
    arguments = command(chatty, "demo-a", "--temperature", "0")
    with screen(arguments, {"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        terminal.awaits(PROMPT)
        yield terminal


@pytest.fixture(scope="module")
def server(gguf: Path) -> Iterator[FileServer]:
    """A server of files from which models are downloaded; it has a tiny one."""
    with serving((gguf / "tiny.gguf").read_bytes()) as server:
        yield server


@pytest.fixture(scope="module")
def pantry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PantryDaemon]:
    """A daemon that Pantry's programs reach, with users who may what a test says."""
    with pantry_daemon(tmp_path_factory.mktemp("pantry")) as found:
        yield found


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    """A test of what holds on both kinds of listeners: once with each."""
    return str(request.param)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A fleet's broker and results, and a host with a model: for tests that break nothing."""
    from tests.integration.test_worker import running_site

    with running_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """For a test that kills parts of it."""
    from tests.integration.test_worker import running_site

    with running_site(tmp_path / "site") as found:
        yield found


@pytest.fixture(scope="module")
def front(
    site: Site, front_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    """A daemon in front of the site, with the `front_settings` of a file of tests."""
    env = {**front_settings, **site.environment}
    with running(tmp_path_factory.mktemp("front"), env=env) as found:
        yield found
