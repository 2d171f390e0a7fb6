"""The memory that models are loaded to: a GPU's, or RAM where there is none."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runnerd.resources import Host
from runnerd.resources.host import RAM, Device

_PATIENCE = 30.0  # seconds for memory to come back; what is printed is how long it took
_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Card:
    """The first GPU, or RAM."""

    host: Host
    id: str

    @classmethod
    def first(cls) -> Card:
        """Return the first GPU's memory, RAM where there is none."""
        host = Host()
        return cls(host, next((d.id for d in host.devices() if d.kind == "gpu"), RAM))

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU's."""
        return self.id != RAM

    def now(self) -> Device:
        """Return the device as it is now."""
        return next(device for device in self.host.devices() if device.id == self.id)

    def held(self, pid: int) -> int:
        """Return the bytes that a process holds of it."""
        return self.host.process_memory([pid]).get(self.id, 0)

    def seconds_until_free(self, wanted: int) -> float:
        """Wait until so many bytes are free; return the seconds it took (inf: they never were)."""
        began = time.perf_counter()
        while self.now().free_bytes < wanted:
            if time.perf_counter() - began > _PATIENCE:
                return float("inf")
            time.sleep(_LOOK)
        return time.perf_counter() - began

    @contextmanager
    def leaving(self, free: int) -> Iterator[None]:
        """Let another process hold all of a GPU but `free` bytes."""
        argv = [sys.executable, "-m", "bench.gpu.card", self.id.removeprefix("gpu"), str(free)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                if (said := holder.stdout.readline()) != b"held\n":
                    raise SystemExit(f"no memory could be held: {said.decode().strip()}")
                yield
            finally:
                holder.kill()


def _hold(device: int, free: int) -> None:
    """Hold all of a GPU but `free` bytes until the standard input ends."""
    cuda = ctypes.CDLL("libcuda.so.1")
    handle, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    calls: tuple[Callable[[], int], ...] = (
        lambda: int(cuda.cuInit(0)),
        lambda: int(cuda.cuDeviceGet(ctypes.byref(handle), device)),
        lambda: int(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle)),
        lambda: int(cuda.cuCtxSetCurrent(context)),
        # Looked at only now: this process's own context takes some hundred MiB.
        lambda: int(cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(_all_but(free)))),
    )
    for number, call in enumerate(calls):
        if status := call():
            raise SystemExit(f"step {number} of holding memory: CUDA answers {status}")
    print("held", flush=True)
    sys.stdin.read()


def _all_but(free: int) -> int:
    return max(2**20, Card.first().now().free_bytes - free)


if __name__ == "__main__":
    _hold(int(sys.argv[1]), int(sys.argv[2]))
