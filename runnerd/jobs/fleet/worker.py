"""`runnerd worker`: takes tasks from RabbitMQ for one host and has its daemon compute them.

    connect -> subscribe -> look and place, once a second -> ... -> drain
       ^                        |
       +---- connection lost ---+   what is under way goes on and keeps its result

It has no model code: a task becomes a request over the daemon's Unix socket.  A task that comes a
second time while it is still under way (the connection was lost in between) is not begun again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from runnerd import tasks
from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker import Connection
from runnerd.jobs.fleet.broker_calls import BrokerLost, WrongQueue
from runnerd.jobs.fleet.daemon_client import DaemonAway, DaemonClient, HostView, TaskRefused
from runnerd.jobs.fleet.deliveries import Delivery, Subscription
from runnerd.jobs.fleet.placement import Placement, QueueView, Taking
from runnerd.jobs.fleet.prompt_tasks import PromptTasks
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS
from runnerd.jobs.fleet.result_store import ResultStore

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 1.0  # seconds
_ONE = Taking(1)


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A queue, and the model that its prompts are for; None: what they name, or the only one."""

    queue: str
    model: str | None = None


class Worker:
    """Works until `stop`; then it takes nothing new and ends what it has."""

    def __init__(
        self,
        amqp_url: str,
        daemon: DaemonClient,
        store: ResultStore,
        queues: Iterable[QueueModel],
        *,
        placement: Placement | None = None,
        may_pull: bool = False,
        once: bool = False,
        drain_timeout: float = 30.0,
    ) -> None:
        """`once`: end after one task.  `may_pull`: fetch the models that `queues` name."""
        self._url = amqp_url
        self._daemon = daemon
        self._models = {each.queue: each.model for each in queues}
        self._placement = placement or Placement()
        self._may_pull = may_pull
        self._once = once
        self._drain_timeout = drain_timeout
        self._prompts = PromptTasks(daemon, store, self._model_for)
        self._view = HostView()
        self._is_away = True
        self._running: dict[bytes, _Running] = {}
        self._pulling: dict[str, asyncio.Task[None]] = {}
        self._subscriptions: list[Subscription] = []
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()

    def stop(self) -> None:
        """Take nothing new; a second time: wait for nothing either."""
        if self._stopping.is_set():
            self._drain_timeout = 0.0
            for running in self._running.values():
                running.task.cancel()
        self._stopping.set()
        self._news.set()

    async def run(self) -> None:
        """Work until the end."""
        name = f"runnerd worker on {socket.gethostname()}"
        while not self._stopping.is_set():
            connection = await self._connection(name)
            if connection is None:
                break
            connection.when_closed(self._news.set)
            try:
                await self._serve(connection)
            except BrokerLost as error:
                log.warning("the broker is gone: %s", error)
            finally:
                if self._stopping.is_set():
                    await self._drain()
                await connection.close()
                self._subscriptions = []
        await self._drain()
        await self._prompts.announced()

    async def _connection(self, name: str) -> Connection | None:
        """A connection, or None if it is time to stop."""
        dialling = tasks.spawn(broker.connect_in_the_end(self._url, name), name="connect")
        stopping = tasks.spawn(self._stopping.wait(), name="wait for the end")
        try:
            await asyncio.wait((dialling, stopping), return_when=asyncio.FIRST_COMPLETED)
            return dialling.result() if dialling.done() else None
        except asyncio.CancelledError:
            if dialling.done() and dialling.exception() is None:
                await dialling.result().close()
            raise
        finally:
            await tasks.cancel_and_wait(dialling)
            await tasks.cancel_and_wait(stopping)

    async def _serve(self, connection: Connection) -> None:
        """Consume on one connection until it is lost or it is time to stop."""
        for queue in self._models:
            try:
                subscription = await Subscription.open(
                    connection, queue, QUEUE_ARGUMENTS, self._begin
                )
            except WrongQueue as error:
                log.error("%s", error.message)
                continue
            self._subscriptions.append(subscription)
        while not self._stopping.is_set():
            if connection.is_closed:
                raise BrokerLost("the connection was closed")
            self._news.clear()
            await self._place()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_INTERVAL):
                    await self._news.wait()
        for subscription in self._subscriptions:
            await subscription.take(Taking())

    async def _place(self) -> None:
        """Look at host and queues, and consume accordingly."""
        try:
            self._view = await self._daemon.look()
            self._is_away = False
        except DaemonAway as error:
            if not self._is_away:
                log.warning("taking no tasks: %s", error.message)
            self._is_away = True
        views = [await self._view_of(each) for each in self._subscriptions]
        decided = self._placement.decide(views, time.monotonic())
        for subscription in self._subscriptions:
            taking = decided[subscription.name]
            if self._once:
                taking = _ONE if taking.prefetch and not self._running else Taking()
            await subscription.take(taking)
            if self._once and self._running:
                break

    async def _view_of(self, subscription: Subscription) -> QueueView:
        ready, consumers = await subscription.look()
        model = self._model_for(subscription.name, None)
        loaded = self._view.loaded_as(model) if model is not None else None
        return QueueView(
            subscription.name,
            usable=not self._is_away and self._is_usable(subscription.name, model),
            slots=loaded.slots if loaded else None,
            requests=loaded.requests if loaded else 0,
            ready=ready,
            consumers=consumers,
            running=subscription.running,
        )

    def _is_usable(self, queue: str, model: str | None) -> bool:
        if self._models[queue] is None:
            return bool(self._view.names)
        if model is not None and self._view.has(model):
            return True
        if self._may_pull and model is not None:
            self._pull(model)
        return False

    def _pull(self, model: str) -> None:
        """Have a model fetched, unless that is under way."""
        known = self._pulling.get(model)
        if known is None or known.done():
            log.info("fetching %s", model)
            self._pulling[model] = tasks.spawn(self._fetch(model), name=f"fetch {model}")

    async def _fetch(self, model: str) -> None:
        try:
            await self._daemon.pull(model)
        except (TaskRefused, DaemonAway) as error:
            log.warning("%s", error.message)
            await asyncio.sleep(60.0)  # before anybody tries again

    def _model_for(self, queue: str, named: str | None) -> str | None:
        """The model for a prompt: what it names if that is here, else its queue's, else the only
        one.
        """
        if named is not None and self._view.has(named):
            return named
        if (model := self._models.get(queue)) is not None:
            return model
        for ids in (set(self._view.loaded), set(self._view.names.values())):
            if len(ids) == 1:
                return ids.pop()
        return named

    def _begin(self, delivery: Delivery) -> None:
        """A task came: carry it out, or take it as a further delivery of one that is under way."""
        print_of = hashlib.sha256(delivery.body).digest()
        running = self._running.get(print_of)
        if running is not None and delivery.again:
            running.deliveries.append(delivery)
            return
        if running is not None:  # the very same task, published twice: one after the other
            print_of = hashlib.sha256(print_of + str(time.monotonic_ns()).encode()).digest()
        task = tasks.spawn(self._carry_out(delivery, print_of), name="task")
        self._running[print_of] = _Running(task, [])
        self._news.set()

    async def _carry_out(self, delivery: Delivery, key: bytes) -> None:
        try:
            await self._prompts.carry_out(delivery)
            further = self._running[key].deliveries
            for each in further:
                await each.done()
            if self._once:
                self.stop()
        except (DaemonAway, asyncio.CancelledError) as error:
            if isinstance(error, DaemonAway):
                log.warning("a task goes back: %s", error.message)
                self._is_away = True
                await self._take_nothing()
            for each in (delivery, *self._running[key].deliveries):
                await each.give_back()
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            del self._running[key]
            self._news.set()

    async def _take_nothing(self) -> None:
        """Have no consumers, so that what goes back goes to another host."""
        with contextlib.suppress(BrokerLost):
            for subscription in self._subscriptions:
                await subscription.take(Taking())

    async def _drain(self) -> None:
        """Wait for what is under way, as long as that may take; what is left goes back."""
        for pulling in self._pulling.values():
            await tasks.cancel_and_wait(pulling)
        under_way = [running.task for running in self._running.values()]
        if not under_way:
            return
        log.info("draining: %d tasks are under way", len(under_way))
        await asyncio.wait(under_way, timeout=self._drain_timeout)
        for task in under_way:
            task.cancel()
        await asyncio.wait(under_way)


@dataclass(slots=True)
class _Running:
    """A task that is under way, with its deliveries after the first."""

    task: asyncio.Task[None]
    deliveries: list[Delivery]
