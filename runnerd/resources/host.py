"""The devices that models can be loaded to, and what processes hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runnerd.resources.gpus import Gpus
from runnerd.resources.ram import process_mapped, process_ram, ram

RAM = "ram"


@dataclass(frozen=True, slots=True)
class Device:
    """A device's memory as it is now, in bytes.  `id` is `ram`, `gpu0`, `gpu1` ..."""

    id: str
    kind: Literal["ram", "gpu"]
    name: str
    total_bytes: int
    free_bytes: int


class Host:
    """Looks at this machine.  `gpus` is another source of GPUs, for tests."""

    def __init__(self, gpus: Gpus | None = None) -> None:
        self._gpus = gpus or Gpus()

    def devices(self) -> tuple[Device, ...]:
        """Return RAM and the GPUs, live and cheaply: what others use is not free."""
        total, free = ram()
        return (
            Device(RAM, "ram", "RAM", total, free),
            *(
                Device(f"gpu{gpu.index}", "gpu", gpu.name, gpu.total, gpu.free)
                for gpu in self._gpus.devices()
            ),
        )

    def process_memory(self, pids: Sequence[int]) -> Mapping[str, int]:
        """Return the bytes per device that processes really hold.

        In RAM that is what would be free without them: not the pages of memory-mapped weights,
        which the page cache keeps and gives away like any other.
        """
        held = {RAM: sum(process_ram(pid) for pid in pids)}
        for pid in pids:
            for index, amount in self._gpus.process(pid).items():
                held[f"gpu{index}"] = held.get(f"gpu{index}", 0) + amount
        return held

    def mapped_memory(self, pids: Sequence[int]) -> int:
        """Return the bytes of mapped files that are in RAM for processes: the page cache's."""
        return sum(process_mapped(pid) for pid in pids)
