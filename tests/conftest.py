"""What every test gets: nothing may be left behind.

Children of this process, asyncio tasks and sockets in a test's own folder are counted before and
after; and no test blocks an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from runnerd.backends.llamacpp import places
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import BackendFailure
from tests.support import blocking, limits, preloaded
from tests.support.waiting import LIMIT

# What whoever runs the tests has set for a daemon of theirs, or was given by a service manager,
# must not reach those of the tests; nor a proxy what is sent to this machine.
_FOREIGN = (
    *("RUNNERD_", "HF_", "DOCKER_CONFIG"),
    *("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"),
)
for _name in list(os.environ):
    if _name.startswith(_FOREIGN) and _name != "RUNNERD_TEST_SECONDS":
        del os.environ[_name]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"

# httpx gives up after 5 s by default; how long something takes is nobody's promise here either.
for _part in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _part, LIMIT)

# Each daemon and each command is a Python of its own: where a container's environment forbids
# compiled modules, half of its start is to compile the same hundreds of files once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.umask(0o022)  # whoever runs the tests may have another one, and tests make folders for daemons

# On a busy machine an example may take any time: how long is nobody's promise.  Fixtures that serve
# all examples of a test are meant to.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts us in the background lets us ignore Ctrl-C, and our children with us.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Limit each part of a test by itself."""
    config.pluginmanager.register(limits)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests wait for engines, brokers and browsers."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session", autouse=True)
def engine_was_tried() -> None:
    """Try the engine once, so that not every daemon of a test has to."""
    finder = ServerFinder(LlamaCppSettings(), places.environment_root())
    with contextlib.suppress(BackendFailure):
        asyncio.run(finder.find())


@pytest.fixture(autouse=True, scope="session")
def nothing_blocks() -> Iterator[None]:
    """Raise wherever runnerd's code blocks an event loop; support/blocking.py says what may."""
    watching = blocking.watch()
    watching.activate()
    yield
    watching.deactivate()


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    """Fail a test that leaves a process running."""
    before = {child.pid for child in _children()}
    yield
    left = [child for child in _children() if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=5)
    names = [" ".join(child.cmdline()[:3]) for child in alive]
    for child in alive:
        child.kill()
    assert not names, f"the test left processes behind: {names}"


def _children() -> list[psutil.Process]:
    """This process's children, and the daemons that were forked for it.

    That there are none of its own costs one call, and not a look at them all.
    """
    forked = []
    for pid in preloaded.living():
        with contextlib.suppress(psutil.NoSuchProcess):
            forked.append(psutil.Process(pid))
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return forked
    return psutil.Process().children() + forked


@pytest.fixture(autouse=True)
def no_socket_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a socket in its folder, if it has one."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    left = [path for path in folder.rglob("*") if path.is_socket()] if folder else []
    assert not left, f"the test left sockets behind: {left}"


@pytest.fixture(autouse=True)
def nothing_runs_on(request: pytest.FixtureRequest) -> None:
    """Hold every asynchronous test against `no_task_left`."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=5)
    # A name alone says nothing of a library's tasks: repr() says what runs, and where it stands.
    running = [repr(task) for task in left if not task.done()]
    assert not running, f"the test left tasks behind: {running}"
