"""A daemon with the two models of the demo, a and b, and room for one of them by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import DaemonProcess, running

DEMO = Path(__file__).parents[2] / "demo"


@contextmanager
def two_models(
    folder: Path, *, room: int | None = 1, env: Mapping[str, str] | None = None
) -> Iterator[DaemonProcess]:
    """Run one; `room` is how many runners there may be at once, None for the default."""
    limit = {} if room is None else {"RUNNERD_MAX_RUNNERS": str(room)}
    with running(folder, env={**limit, **(env or {})}) as daemon:
        for name in "ab":
            daemon.import_model(DEMO / f"demo-{name}.gguf", name)
        yield daemon
