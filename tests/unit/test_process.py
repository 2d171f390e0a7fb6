"""runnerd.backends.process: real children, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import uvloop

from runnerd.backends.commands import run_command
from runnerd.backends.environment import child_environment
from runnerd.backends.output import Output
from runnerd.backends.process import NOTHING_MORE, EngineProcess, ExitRecord, living_members
from runnerd.backends.sandbox import Sandbox
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted
from tests.support.waiting import SECONDS, wait_for

GRACE = 30 * SECONDS


def start(*argv: str, log: Path | None = None, writes: Path | None = None) -> EngineProcess:
    return EngineProcess.start(
        argv,
        output=Output(log),
        environment=child_environment(),
        sandbox=Sandbox(writes=() if writes is None else (writes,)),
    )


def shell(script: str, log: Path | None = None) -> EngineProcess:
    return start("/bin/sh", "-c", script, log=log)


async def python(code: str, *, sandbox: Sandbox | None = NOTHING_MORE) -> str:
    """Run code in a child and return what it printed."""
    result = await run_command([sys.executable, "-I", "-c", code], timeout=GRACE, sandbox=sandbox)
    assert result.code == 0, result.output
    return result.output


async def printed(log: Path, text: str) -> None:
    """Wait until a child has printed `text`."""
    async with asyncio.timeout(GRACE):
        while not log.exists() or text not in log.read_text():
            await asyncio.sleep(0.005)


async def test_exit_status_and_last_words() -> None:
    """A child that ends by itself leaves its exit status and what it printed on both streams."""
    record = await shell("echo out; echo err >&2; exit 3").wait()
    assert (record.code, record.signal, record.reason) == (3, None, "exit status 3")
    assert set(record.tail.split()) == {"out", "err"}
    assert not record.requested


async def test_every_waiter_gets_the_record() -> None:
    """Any number of callers may wait, also after the end."""
    process = shell("exit 0")
    first, second = await asyncio.gather(process.wait(), process.wait())
    assert first is second is await process.wait()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL])
async def test_signals_have_names(number: signal.Signals) -> None:
    """Death by a signal is told by its name."""
    record = await shell(f"kill -{number.value} $$").wait()
    assert (record.signal, record.reason) == (number.value, f"killed by {number.name}")


async def test_a_foreign_sigkill_may_have_been_the_kernel() -> None:
    """SIGKILL that we did not send is not blamed on anybody with certainty."""
    record = await shell("kill -9 $$").wait()
    assert record.reason in (
        "killed by SIGKILL",
        "killed by SIGKILL (possibly the kernel's out-of-memory killer)",
    )


async def test_a_risen_counter_means_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the group's out-of-memory kills have risen, the reason says so."""
    monkeypatch.setattr("runnerd.backends.oom.OomCounter.rose", lambda self: True)
    record = await shell("kill -9 $$").wait()
    assert record.reason == "killed by SIGKILL (probably the kernel's out-of-memory killer)"


async def test_stop_asks_first(tmp_path: Path) -> None:
    """A child that handles SIGTERM ends in its own way, and the record says that we asked."""
    log = tmp_path / "log"
    process = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done", log)
    await printed(log, "up")
    record = await process.stop(GRACE)
    assert (record.code, record.requested) == (7, True)


async def test_stop_kills_what_does_not_end(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after the grace, and nobody blames the kernel."""
    log = tmp_path / "log"
    process = shell("trap '' TERM; echo up; while :; do sleep 0.01; done", log)
    await printed(log, "up")
    record = await process.stop(0.05)
    assert record.reason == "killed by SIGKILL"


async def test_stop_is_idempotent() -> None:
    """Several stops, also after the end, give the same record."""
    process = start("/bin/sleep", "3600")
    first, second = await asyncio.gather(process.stop(GRACE), process.stop(GRACE))
    assert first is second is await process.stop(0)


async def test_grandchildren_go_with_the_child() -> None:
    """When the head of the group ends, however gently, its children are gone too."""
    process = shell("(trap '' TERM; exec sleep 3600) & exit 0")
    record = await process.wait()
    assert record.code == 0
    assert living_members(process.pid) == []


async def test_a_held_pipe_delays_nothing(tmp_path: Path) -> None:
    """A descendant that left the group and keeps the pipe open cannot hold the end up."""
    pid_file = tmp_path / "pid"
    code = (
        "import os,time\n"
        "if os.fork() == 0:\n"
        " os.setsid()\n"
        f" open({str(pid_file) + '.new'!r},'w').write(str(os.getpid()))\n"
        f" os.rename({str(pid_file) + '.new'!r}, {str(pid_file)!r})\n"
        " time.sleep(3600)\n"
        f"while not os.path.exists({str(pid_file)!r}): time.sleep(0.005)\n"
        "print('bye', flush=True)"
    )
    record = await start(sys.executable, "-I", "-c", code, writes=tmp_path).wait()
    escaped = psutil.Process(int(pid_file.read_text()))
    try:
        assert (record.code, record.tail) == (0, "bye\n")
        assert escaped.is_running()
    finally:
        escaped.kill()


async def test_closing_its_output_is_no_end(tmp_path: Path) -> None:
    """A child that closes its output lives on until it is stopped."""
    process = shell("exec >&- 2>&-; exec sleep 3600")
    wait_for(lambda: psutil.Process(process.pid).name() == "sleep", "the shell to become sleep")
    record = await process.stop(GRACE)
    assert record.signal == signal.SIGTERM


async def test_a_flood_is_read_and_bounded(tmp_path: Path) -> None:
    """Fifty megabytes of output stall neither child nor loop and leave a bounded tail and file."""
    log = tmp_path / "engine.log"
    process = shell("head -c 50000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo end", log)
    turns = 0
    waiter = asyncio.get_running_loop().create_task(process.wait())
    while not waiter.done():
        turns += 1
        await asyncio.sleep(0)
    record = waiter.result()
    assert record.tail.endswith("end\n")
    assert len(record.tail) <= 64 * 2**10
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10 * 2**20
    assert turns > 50  # somebody else got a turn between the reads


async def test_a_cancelled_waiter_leaves_the_child_alone() -> None:
    """Cancelling wait() is not stop()."""
    process = start("/bin/sleep", "3600")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await process.wait()
    assert psutil.pid_exists(process.pid)
    await process.stop(GRACE)


async def test_what_cannot_be_started(tmp_path: Path) -> None:
    """A missing or not executable program is a failure that names it."""
    with pytest.raises(BackendFailure, match="cannot start /no/such: No such file"):
        start("/no/such")
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(BackendFailure, match=r"cannot start .*text: "):
        start(str(tmp_path / "text"))


async def test_only_the_main_thread_starts() -> None:
    """The parent-death signal follows the forking thread, so other threads are refused."""
    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            start("/bin/true")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [RuntimeError]


# what a child is given


async def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags in disguise, secrets and systemd's variables do not reach a child; devices do."""
    flags = ("LLAMA_ARG_METRICS", "LLAMA_API_KEY", "AIP_MODE", "RUNNERD_X", "PYTHONPATH")
    others = ("HF_TOKEN", "LISTEN_FDS", "NOTIFY_SOCKET", "LD_PRELOAD", "LD_LIBRARY_PATH")
    for name in flags + others:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    environment = child_environment({"LD_LIBRARY_PATH": "/opt/lib"})
    assert environment["CUDA_VISIBLE_DEVICES"] == "2"
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["LD_LIBRARY_PATH"] == "/opt/lib"
    assert environment["GGML_NO_BACKTRACE"] == "1"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # as NVML counts
    assert not environment.keys() & {"HF_TOKEN", "LD_PRELOAD", "PYTHONPATH", "AIP_MODE"}
    assert not any(
        name.startswith(("LLAMA_", "RUNNERD_", "LISTEN", "NOTIFY")) for name in environment
    )


async def test_a_child_has_no_network() -> None:
    """socket() makes Unix sockets only; neither x32 numbers nor io_uring are a way round."""
    code = """
import ctypes, errno, platform, socket
socket.socket(socket.AF_UNIX).close()
socket.socketpair()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    try: socket.socket(family, socket.SOCK_DGRAM if family != socket.AF_PACKET else socket.SOCK_RAW)
    except PermissionError as error: assert error.errno == errno.EACCES
    else: raise SystemExit(f'{family} was allowed')
if platform.machine() == 'x86_64':
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(0x40000000 | 41, 2, 1, 0) == -1 and ctypes.get_errno() == errno.EACCES
    assert libc.syscall(425, 1, 0) == -1 and ctypes.get_errno() == errno.EACCES
print('denied')
"""
    assert await python(code) == "denied\n"


async def test_the_network_can_be_left_on() -> None:
    """With the setting off, a child may open an internet socket."""
    code = "import socket; socket.socket(socket.AF_INET).close(); print('ok')"
    assert await python(code, sandbox=None) == "ok\n"


async def test_a_child_goes_first_when_memory_runs_out() -> None:
    """The daemon's own score, which its unit lowers, is not inherited."""
    assert await python("print(open('/proc/self/oom_score_adj').read())") == "500\n\n"


async def test_a_child_is_a_batch_process_as_long_as_it_has_a_crowd() -> None:
    """All its threads are, and those they begin; without a crowd it is as any other process."""
    code = """
import threading
[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(4)]
print("begun", flush=True)
threading.Event().wait()
"""
    output = Output()
    process = EngineProcess.start(
        [sys.executable, "-c", code], output=output, environment=child_environment()
    )

    def policies() -> list[int]:
        threads = os.listdir(f"/proc/{process.pid}/task")
        return [os.sched_getscheduler(int(thread)) for thread in threads]

    try:
        while "begun" not in output.tail:
            await asyncio.sleep(0.01)
        assert policies() == [os.SCHED_OTHER] * 5
        process.schedule(batch=True)
        assert policies() == [os.SCHED_BATCH] * 5
        process.schedule(batch=False)
        assert policies() == [os.SCHED_OTHER] * 5
    finally:
        process.kill()
        await process.wait()
    process.schedule(batch=True)  # of one that is gone nothing happens


async def test_a_child_is_on_its_own() -> None:
    """Own session and group, no new privileges, no core dumps, private files, no input."""
    code = """
import os, resource, sys
assert os.getsid(0) == os.getpgid(0) == os.getpid()
assert 'NoNewPrivs:\\t1' in open('/proc/self/status').read()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert os.umask(0) == 0o077
assert sys.stdin.read() == ''
assert sorted(map(int, os.listdir('/proc/self/fd')))[:3] == [0, 1, 2]
assert len(os.listdir('/proc/self/fd')) == 4, os.listdir('/proc/self/fd')
print('alone')
"""
    assert await python(code) == "alone\n"


PARENT = """
import asyncio, sys
from runnerd.backends.output import Output
from runnerd.backends.environment import child_environment
from runnerd.backends.process import EngineProcess
async def main():
    environment = child_environment()
    process = EngineProcess.start(['/bin/sleep', '3600'], output=Output(), environment=environment)
    print(process.pid, flush=True)
    await process.wait()
LOOP.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_child_dies_with_its_parent(loop: str) -> None:
    """kill -9 of the daemon takes the engine along, on either loop."""
    code = PARENT.replace("LOOP", loop).replace("import asyncio", f"import asyncio, {loop}")
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    wait_for(
        lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE,
        "the child to die with its parent",
    )


def test_it_works_on_uvloop() -> None:
    """Start, read, stop and the record work on the daemon's own kind of loop."""

    async def main() -> ExitRecord:
        process = start("/bin/sleep", "3600")
        assert (await shell("echo hello").wait()).tail == "hello\n"
        return await process.stop(GRACE)

    assert uvloop.run(main()).signal == signal.SIGTERM


# commands


async def test_a_command_that_takes_too_long_is_gone() -> None:
    """A late command is killed with its group, and the failure says so."""
    before = set(psutil.Process().children())
    with pytest.raises(BackendFailure, match=r"took more than 0\.05 s"):
        await run_command(["/bin/sh", "-c", "sleep 3600 & wait"], timeout=0.05)
    assert set(psutil.Process().children(recursive=True)) <= before


async def test_a_cancelled_command_is_gone() -> None:
    """Cancelling a command ends its process before the cancellation arrives."""
    before = len(psutil.Process().children())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run_command(["/bin/sleep", "3600"], timeout=GRACE)
    assert len(psutil.Process().children()) == before


async def test_uninterrupted_work_ends_before_the_cancellation() -> None:
    """However often its caller is cancelled, the work runs to its end, and then the caller is."""
    done = asyncio.Event()
    proceed = asyncio.Event()

    async def work() -> None:
        await proceed.wait()
        done.set()

    caller = asyncio.get_running_loop().create_task(uninterrupted(work(), name="work"))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


def test_no_descriptor_leaks() -> None:
    """Children leave no file descriptor behind."""

    async def main() -> None:
        for _ in range(20):
            await start("/bin/true").wait()

    asyncio.run(main())
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) <= before
