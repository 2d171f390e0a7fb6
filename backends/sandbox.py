"""What a child process may reach, and what of that this kernel can hold it to.

An engine runs files and prompts of strangers, and one that is taken over must not get further.  It
gets the files of its model, a folder to listen in and one for its slots, the libraries of the
system and of its own installation, and the GPUs if it computes on them; nothing else: not the
daemon's sockets, not its memory, not its files, no other engine, no network.

Files are Landlock's business, system calls are seccomp's; neither needs privileges, and both hold
for root.  Where a kernel has no Landlock, engines run without its part, and `doctor` and the
status say so.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runnerd.backends import landlock, seccomp
from runnerd.backends.engine_user import EngineUser
from runnerd.backends.landlock import Access, Ruleset

# Software: readable for everybody on any host.
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store",
             "/gnu/store", "/home/linuxbrew/.linuxbrew", "/run/opengl-driver")  # fmt: skip
_FILES = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies",
    # the processor and the memory
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems",
    "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease",
    "/sys/devices/system", "/sys/kernel/mm",
)  # fmt: skip
_NODES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Drivers look themselves up all over /proc and /sys.  Other processes' memory and environment are
# closed all the same: Landlock lets nobody trace, or look into, what is outside of its domain.
_DRIVER_FILES = ("/proc", "/sys", "/etc/OpenCL", "/etc/vulkan", "/etc/nvidia", "/etc/egl")
_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/accel*", "/dev/nvhost*",
            "/dev/nvmap", "/dev/nvgpu*", "/dev/davinci*", "/dev/mtgpu*")  # fmt: skip
_SHARED = "/dev/shm"  # AMD's runtime keeps files there


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What one child may reach beside the system's own software.

    `programs` may be read and executed, `reads` read, `writes` changed (a file, or what is in a
    folder); in a folder of `sockets` it may listen.  `devices`: it computes on GPUs, if there are
    any.  `held`: Landlock and seccomp keep it to that.  `user` is whom it runs as, None for the
    daemon's own user.
    """

    programs: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    sockets: tuple[Path, ...] = ()
    devices: bool = False
    held: bool = True
    user: EngineUser | None = None

    @property
    def own_process(self) -> Access:
        """The rights of a child in its own part of /proc: drivers name their threads there."""
        return landlock.READ | Access.WRITE_FILE if self.devices else landlock.READ

    def ruleset(self) -> Ruleset | None:
        """The rules for Landlock, None where it has or needs none.  Raises OSError."""
        version = landlock.abi()
        if not version or not self.held:
            return None
        rules = Ruleset(version)
        try:
            rules.allow((*_PROGRAMS, *own_python(), *self.programs), landlock.RUN)
            rules.allow((*_FILES, *self.reads), landlock.READ)
            rules.allow(_NODES, landlock.READ | Access.WRITE_FILE | Access.TRUNCATE)
            rules.allow(self.writes, landlock.CHANGE)
            rules.allow(self.sockets, landlock.LISTEN)
            if self.devices and (nodes := device_nodes()):
                rules.allow(_DRIVER_FILES, landlock.READ)
                rules.allow(nodes, landlock.USE_DEVICE)
                if os.path.exists("/dev/kfd"):
                    rules.allow([_SHARED], landlock.CHANGE)
        except BaseException:
            os.close(rules.descriptor)
            raise
        return rules


def device_nodes() -> list[str]:
    """The nodes of this host's GPUs."""
    found = []
    for folder, patterns in itertools.groupby(_DEVICES, os.path.dirname):
        wanted = [os.path.basename(pattern) for pattern in patterns]
        with contextlib.suppress(OSError):
            found += [
                os.path.join(folder, name)
                for name in os.listdir(folder)
                if any(fnmatch.fnmatch(name, pattern) for pattern in wanted)
            ]
    return found


def folders_of(program: Path, private: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The program with what lies beside it and its libraries.

    A folder that holds the owner's home or one of `private` (the daemon's own files) is not given
    as a whole: of that, only libraries.
    """
    broad = {Path("/")}
    for folder in (_home(), *private):
        broad |= {folder, *folder.parents}
    found: list[Path] = [program]
    for folder in dict.fromkeys((program.parent, program.resolve().parent)):
        if folder in broad:
            found += folder.glob("lib*.so*")
        else:
            found.append(folder)
        if folder.parent not in broad:
            found += (folder.parent / "lib", folder.parent / "lib64")
    return tuple(found)


def lacks() -> list[str]:
    """What this kernel cannot keep an engine from, in words; nothing where all of it holds."""
    told = []
    version = landlock.abi()
    if not version:
        told.append(
            "an engine that is taken over can open all files that the daemon can"
            " (no Landlock: Linux 5.13 or newer, with landlock among its security modules)"
        )
    elif not Access.TRUNCATE & landlock.handled(version):
        told.append(
            "an engine that is taken over can empty the daemon's files (Linux 6.2 or newer)"
        )
    if seccomp.machine() is None:
        told.append("engines keep their network access (no filter for this machine)")
    return told


@cache
def own_python() -> tuple[str, ...]:
    """The daemon's own environment: engines may be installed there, children may be Python's."""
    return tuple(dict.fromkeys((sys.prefix, sys.base_prefix, sys.exec_prefix)))


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without one
        return Path("/")
