"""The daemon's life: has its parts built, opens the listeners, runs, drains.

Read `Daemon.run` from top to bottom; `parts` builds what works together in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

import runnerd
from runnerd import early, logs, secrecy, tasks, time_slice
from runnerd.accounts.audit import AuditEntry
from runnerd.backends.interface import Preparing
from runnerd.config import Settings
from runnerd.errors import StartupError
from runnerd.loopwatch import LoopWatch
from runnerd.pantry_listeners import pantry_listeners, pantry_socket
from runnerd.parts import Parts, build
from runnerd.pulls.settings import allowed_sources
from runnerd.regular import check_folder
from runnerd.relay import listening
from runnerd.relay.peers import Peers
from runnerd.resources.spare import SpareMemory
from runnerd.setting_sources import unknown_variables
from runnerd.sockets.activation import inherited_sockets
from runnerd.sockets.addresses import address_of, tcp_addresses
from runnerd.sockets.descriptors import raise_limit
from runnerd.sockets.listeners import listen_tcp, parse_listen
from runnerd.sockets.lock import DirectoryLock
from runnerd.sockets.notify import Notifier
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.sockets.tls import ServerCertificate
from runnerd.stop_signals import StopSignals
from runnerd.upkeep import ControlSocket, Upkeep
from runnerd.watchdog import watchdog

log = logging.getLogger(__name__)

_COLLECTIONS = 10_000, 20, 20  # a request makes hardly any cycles; looking for them costs 2 %
_THREADS = 48  # made as they are needed
_ENFORCED_EVERY = 2.0  # seconds; what is changed is enforced at once, what expires then


def main(settings: Settings, read: Callable[[], Settings]) -> int:
    """Run the daemon until it is told to stop; return the process's exit status.

    `read` reads the settings anew, at SIGHUP.  Raises errors.StartupError.
    """
    early.hold()
    os.umask(0o077)
    secrecy.close_to_others()
    raise_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # More than the usual cores + 4: a few pulls that wait for a slow disk must not make
        # everything else wait that needs a thread for a moment.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "runnerd"))
        return runner.run(Daemon(settings, read).run())


class Daemon:
    """Owns every part, from the first lock to the last socket."""

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        self._settings = settings
        self._read = read
        self._notifier = Notifier()
        self._signals = StopSignals()
        self._activated = False
        self._bound: list[str] = []  # TCP addresses
        self._socket_gid: int | None = None  # of systemd's socket
        self._peers = Peers()
        self._certificate: ServerCertificate | None = None
        self._status = 0

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; drain; return 0.  A second signal cuts it short.

        One that comes before it serves ends it, too, with nothing left behind.
        """
        try:
            return await self._serve()
        except early.Stopped:
            log.info("stopped before it served")
            return 0

    async def _serve(self) -> int:
        settings = self._settings
        check(settings)
        self._certificate = listening.certificate(settings)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._notifier.close)
            early.check()
            state_dir, directory, locks = self._prepare_directories(stack)
            log_dir = state_dir / "logs"
            logs.set_up(log_dir, level=settings.log_level, as_json=settings.log_format == "json")
            for problem in unknown_variables(Settings):
                log.warning("%s", problem)
            log.info("runnerd %s starts, pid %d", runnerd.__version__, os.getpid())
            directory.clear_stale()
            early.check()

            parts = await build(
                stack, settings, state_dir, directory, self._peers, self._certificate
            )
            relay, supervisor = parts.relay, parts.supervisor
            early.check()
            control = ControlSocket(
                settings.socket_path, mode=settings.socket_mode, group=settings.socket_group
            )
            stack.callback(control.close)
            listeners = self._open_listeners(control)
            sockets = [control]
            if settings.pantry.enabled:
                pantry = pantry_socket(settings.pantry)
                stack.callback(pantry.close)
                sockets.append(pantry)
                listeners += pantry_listeners(settings, pantry, listeners)
            self._bound = tcp_addresses(listeners)
            check(settings, self._bound)
            self._peers.rules = listening.peer_rules(settings, self._socket_gid)
            if self._bound:
                self._peers.warn()
            relay.apply(listening.make_admission(settings, self._bound))
            await relay.open(listeners)
            upkeep = Upkeep(
                directory,
                locks,
                sockets,
                runners=supervisor.ready_runners,
                listen=relay.listen,
            )
            await stack.enter_async_context(self._kept(upkeep))

            self._signals.listen(
                reload=lambda: self._reload(log_dir, parts),
                hurry=supervisor.hurry,
            )
            await stack.enter_async_context(watchdog(self._notifier, supervisor.stranded))
            time_slice.shorten()
            giving_back = tasks.spawn(SpareMemory().run(), name="give memory back")
            stack.push_async_callback(tasks.cancel_and_wait, giving_back)

            folders = tasks.spawn(parts.model_folders.run(), name="look at the folders of models")
            stack.push_async_callback(tasks.cancel_and_wait, folders)
            enforcing = tasks.spawn(_enforce(parts), name="enforce the policy")
            stack.push_async_callback(tasks.cancel_and_wait, enforcing)
            stack.enter_context(parts.observability.loop_lag.measured())
            watch = LoopWatch()
            watch.start()
            stack.callback(watch.stop)
            gc.freeze()  # what lives now lives for ever; spares every later collection the walk
            gc.set_threshold(*_COLLECTIONS)  # from here on: `serve` has begun without any
            for listener in listeners:
                log.info("listening on %s", address_of(listener, tls=self._certificate is not None))
            if self._bound:
                log.info("over TCP it answers to %s", relay.admission.hosts)
            self._notifier.ready("serving")
            await parts.jobs.open()
            tasks.spawn(supervisor.configuring.make_resident(), name="residents")
            for backend in parts.backends.values():
                if isinstance(backend, Preparing):
                    looking = tasks.spawn(backend.prepare(), name=f"look at {backend.name}")
                    stack.push_async_callback(tasks.cancel_and_wait, looking)
            await self._signals.stop.wait()

            log.info("draining for at most %g s", settings.drain_timeout)
            self._notifier.stopping()
            self._notifier.extend_timeout(settings.drain_timeout + settings.slot_timeout + 15)
            supervisor.drain()
            parts.observability.events.close()  # first: whoever watches would be waited for,
            await parts.approvals.close()  # whoever watches an approval,
            await parts.pulls.close()  # and whoever watches a pull
            if self._activated:
                relay.stop_listening()
                log.info("new clients wait in systemd's sockets for the next daemon")
            await self._drain(parts)
        log.info("stopped")
        return self._status

    def _prepare_directories(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[Path, RuntimeDirectory, list[DirectoryLock]]:
        """Create and lock both directories: one daemon owns each."""
        settings = self._settings
        state_dir = settings.state_dir
        try:
            state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            check_folder(state_dir)
        except OSError as error:
            raise StartupError(
                f"cannot use the state directory {state_dir}: {error.strerror}; "
                "set another one with --state-dir"
            ) from error
        directory = RuntimeDirectory(settings.runtime_dir)
        directory.prepare()
        locks: list[DirectoryLock] = []
        for path, purpose in (
            (settings.runtime_dir, "the runtime directory"),
            (state_dir, "the state directory"),
        ):
            lock = DirectoryLock(path, purpose)
            lock.acquire()
            stack.callback(lock.release)
            if not locks:  # as long as the runtime directory is ours
                stack.callback(directory.leave)
            locks.append(lock)
        return state_dir, directory, locks

    def _open_listeners(self, control: ControlSocket) -> list[socket.socket]:
        """Return systemd's sockets where it passed some, else our own."""
        settings = self._settings
        inherited = inherited_sockets()
        if inherited:
            self._activated = True
            self._socket_gid = listening.socket_gid(inherited, settings.socket_path)
            return control.adopt(inherited)
        listeners = [control.open()]
        if settings.listen:
            host, port = parse_listen(settings.listen)
            listeners += listen_tcp(host, port, remote_refusal=listening.remote_refusal(settings))
        return listeners

    def _reload(self, log_dir: Path, parts: Parts) -> None:
        """Bring changed settings into force, all or none; no request notices."""
        try:
            fresh = self._read()
            check(fresh, self._bound)
            listening.renew(self._certificate, fresh)
        except StartupError as error:
            log.error(
                "SIGHUP: the settings stay as they were: %s", error.message, extra=logs.ANSWER
            )
            return
        now, later = self._settings.adopt(fresh)
        if later:
            names = ", ".join(sorted(later))
            log.warning("SIGHUP: a restart is needed for %s", names, extra=logs.ANSWER)
        log.info("SIGHUP: changed settings: %s", ", ".join(sorted(now)) or "none")
        if now:
            names = ", ".join(sorted(now))
            entry = AuditEntry(time.time(), "", "a signal", "change_settings", "", names, 200)
            tasks.spawn(parts.accounts.audit.add(entry), name="audit")
        if now & {"log_level", "log_format"}:
            logs.set_up(
                log_dir,
                level=self._settings.log_level,
                as_json=self._settings.log_format == "json",
            )
        if not self._settings.capture_requests:
            parts.records.forget_content()
        self._peers.rules = listening.peer_rules(self._settings, self._socket_gid)
        parts.relay.apply(listening.make_admission(self._settings, self._bound))
        parts.relay.enforce(peers=True)
        parts.supervisor.settings_changed()
        parts.jobs.worker.settings_changed()

    @contextlib.asynccontextmanager
    async def _kept(self, upkeep: Upkeep) -> AsyncIterator[None]:
        """Keep the daemon reachable, and end it with an error where that is not possible."""

        async def keep() -> None:
            reason = await upkeep.run()
            log.error("the daemon ends: %s", reason)
            self._status = 1
            self._signals.stop.set()

        keeping = tasks.spawn(keep(), name="upkeep")
        try:
            yield
        finally:
            await tasks.cancel_and_wait(keeping)

    async def _drain(self, parts: Parts) -> None:
        """Wait for responses in flight, for the limit, or until a second signal."""
        patience = self._settings.drain_timeout
        draining = tasks.spawn(_drained(parts, patience), name="drain")
        hurry = tasks.spawn(self._signals.hurry.wait(), name="hurry")
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        await tasks.cancel_and_wait(draining)
        await tasks.cancel_and_wait(hurry)


async def _drained(parts: Parts, patience: float) -> None:
    await asyncio.gather(parts.relay.drain(patience), parts.jobs.worker.drain(patience))


async def _enforce(parts: Parts) -> None:
    """End what is under way of users whose time is over."""
    while True:
        await asyncio.sleep(_ENFORCED_EVERY)
        if not parts.policy.directory.has_keys:
            continue
        try:
            parts.relay.enforce()
        except Exception:  # of one connection; the next look must come all the same
            log.exception("requests that users may not make any more could not be ended")


def check(settings: Settings, bound: Sequence[str] = ()) -> None:
    """Raise errors.StartupError for settings that some part cannot be made with, or that do not go
    with the TCP addresses that are listened on.
    """
    listening.check_listening(settings, bound)
    listening.make_admission(settings)
    allowed_sources(settings)
    for address in listening.tcp_settings(settings):
        parse_listen(address)
