"""The host as `ps` shows it: its devices, and who waits for room on them."""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.scheduler import Queries
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.memory import MemoryAccounts
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.sharing import Sharing


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """A device's memory in bytes.

    `limit` is what runners may have of it in all, `reserved` what is set aside for those that there
    are, `held` what these were seen to hold of it, `others` what other programs use.
    """

    id: str
    name: str
    total: int
    free: int
    limit: int
    reserved: int
    held: int
    others: int


@dataclass(frozen=True, slots=True)
class WaitingReport:
    """How many requests wait for a model: for a runner that is in use, or for room."""

    backend: str
    models: tuple[str, ...]
    model_ref: str
    mode: str
    waiting: int


class HostReports:
    """Reports on devices and queue."""

    def __init__(
        self,
        scheduler: Queries,
        *,
        sharing: Sharing,
        launch_specs: LaunchSpecs,
        memory: MemoryAccounts,
        preparation: Preparation,
    ) -> None:
        self._scheduler = scheduler
        self._sharing = sharing
        self._launch_specs = launch_specs
        self._memory = memory
        self._preparation = preparation

    def devices(self) -> list[DeviceReport]:
        """Every device as it is now."""
        self._preparation.observe()
        reserved: dict[str, int] = {}
        held: dict[str, int] = {}
        for view in self._scheduler.view():
            for device, amount in view.reserved.items():
                reserved[device] = reserved.get(device, 0) + amount
            for device, amount in (view.held or {}).items():
                held[device] = held.get(device, 0) + amount
        return [
            DeviceReport(
                device.id,
                self._memory.names.get(device.id, device.id),
                device.total,
                device.free,
                device.limit,
                reserved.get(device.id, 0),
                held.get(device.id, 0),
                others,
            )
            for device, others in self._scheduler.devices()
        ]

    def waiting(self) -> list[WaitingReport]:
        """Every model that is waited for."""
        return [
            WaitingReport(
                key.backend,
                tuple(self._sharing.models(key)),
                self._launch_specs.name(key),
                key.mode,
                count,
            )
            for key, count in self._scheduler.waiting().items()
        ]
