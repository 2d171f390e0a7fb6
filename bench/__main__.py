"""`python -m bench [SECTION ...] [--quick]`: every measurement, or some of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from bench import (
    beside,
    chats,
    contexts,
    in_process,
    isolation,
    jobs,
    memory,
    page,
    pulling,
    relay,
    scheduling,
    seeing,
    sessions,
    sharing,
    slots,
    startup,
    tokens,
)
from bench.gpu.run import gpu
from bench.neighbours import as_many_as_cores, neighbours
from bench.report import Report
from tests.support.daemon import DaemonProcess

SECTIONS: dict[str, Callable[[Report, float], None]] = {
    "startup": startup.startup,
    "requests": relay.requests,
    "inside": in_process.in_process,
    "latency": relay.latency,
    "held": relay.held,
    "tokens": tokens.tokens,
    "chats": chats.chats,
    "paced": relay.paced,
    "cancel": relay.cancelling,
    "overload": relay.overload,
    "bodies": relay.bodies,
    "pulling": pulling.pulling,
    "scheduling": scheduling.scheduling,
    "sharing": sharing.sharing,
    "seeing": seeing.seeing,
    "page": page.page,
    "beside": beside.beside,
    "slots": slots.slots,
    "sessions": sessions.sessions,
    "isolation": isolation.isolation,
    "jobs": jobs.jobs,
    "memory": memory.memory,
    "contexts": contexts.contexts,
    "architectures": memory.architectures,
}

_OF_MEMORY = frozenset({"held", "memory", "architectures", "gpu"})
"""Sections whose figures have nothing to do with who else computes."""


def main() -> None:
    """Print the figures."""
    DaemonProcess.module = "runnerd"  # not watched from inside, as tests have it
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "section", nargs="*", help=f"of: {', '.join(SECTIONS)}, gpu; default: all but gpu"
    )
    parser.add_argument(
        "--sources", type=Path, help="gpu: build the engine of this folder (bench.gpu.pack)"
    )
    parser.add_argument(
        "--neighbours",
        type=int,
        metavar="N",
        help="measure beside so many programs that keep a core busy each, 0: beside none; default: "
        "first beside none, then beside as many as there are cores",
    )
    parser.add_argument("--quick", action="store_true", help="short runs, rough figures")
    options = parser.parse_args()
    if unknown := set(options.section) - {*SECTIONS, "gpu"}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    print(f"{os.cpu_count()} cores, shared by load, relay and engine")
    situations = [0, as_many_as_cores()]
    if options.neighbours is not None:
        situations = [options.neighbours]
    for count in situations:
        report = Report(f"beside {count} busy neighbours" if count else "")
        for name in options.section or SECTIONS:
            if name in _OF_MEMORY and count != situations[0]:
                continue
            with neighbours(0 if name in _OF_MEMORY else count):
                if name == "gpu":
                    gpu(report, options.sources)
                else:
                    SECTIONS[name](report, 0.8 if options.quick else 4.0)


if __name__ == "__main__":
    main()
