"""What can be typed about an installation, without what `runnerd --help` would wait for."""

from __future__ import annotations

import argparse
from pathlib import Path

VERSION = "0.3.36"  # of llama-cpp-python, which carries the sources
CHECKSUM = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to install."""
    parser.add_argument(
        "--with",
        dest="kind",
        choices=("cuda", "rocm", "vulkan", "cpu"),
        help="what to build for; default: the toolkit that is here, else the processor",
    )
    parser.add_argument(
        "--portable",
        action="store_true",
        help="for many processors, one of which is picked at each start: images, shared disks",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="build again, whatever is there already"
    )
    parser.add_argument(
        "--version",
        dest="engine_version",
        metavar="X",
        help=f"of llama-cpp-python, which carries the sources; default {VERSION}",
    )
    parser.add_argument("--jobs", type=_positive, metavar="N", help="compilers at once")
    parser.add_argument(
        "--source", type=Path, metavar="PATH", help="llama.cpp's sources, instead of fetching them"
    )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number from 1 on")
    return number
