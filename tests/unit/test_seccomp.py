"""runnerd.backends.seccomp: the filter, run by an interpreter of classic BPF."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends import seccomp
from runnerd.backends.seccomp import MACHINES, Machine, filter_code

ALLOW, DENY, ABSENT = 0x7FFF0000, 0x0005000D, 0x00050026
X86_64, AARCH64 = MACHINES["x86_64"], MACHINES["aarch64"]
BOTH = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
_HEADERS = {
    X86_64: "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    AARCH64: "/usr/include/asm-generic/unistd.h",
}


def run(code: bytes, number: int, architecture: int, *arguments: int) -> int:
    """Run a filter as the kernel does and return its verdict."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", code))
    accumulator = position = 0
    while True:
        operation, yes, no, value = instructions[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                position += yes if accumulator == value else no
            case 0x35:
                position += yes if accumulator >= value else no
            case 0x45:
                position += yes if accumulator & value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


def expected(machine: Machine, number: int, arguments: tuple[int, ...]) -> int:
    """What the filter has to say, by name and not by number."""
    names = [name for name in seccomp._CALLS if machine.number(name) == number]
    if number >= 0x40000000:
        return DENY
    if not names or names[0] in ("kill", "tgkill"):
        return ALLOW
    low = [argument & 0xFFFFFFFF for argument in arguments]
    stream = low[1] & 0xF in (1, 5)
    allowed = {
        "socket": low[0] == 1 and stream,
        "socketpair": stream,
        "sendto": arguments[4] == 0,
        "clone": not low[0] & 0x7E020000,
        "prlimit64": low[0] == 0,
    }
    if names[0] == "clone3":
        return ABSENT
    return ALLOW if allowed.get(names[0], False) else DENY


@BOTH
@given(
    number=st.one_of(st.integers(0, 500), st.integers(0, 2**32 - 1)),
    arguments=st.tuples(*[st.one_of(st.integers(0, 50), st.integers(0, 2**64 - 1))] * 6),
)
def test_the_filter_denies_what_is_on_its_list(
    machine: Machine, number: int, arguments: tuple[int, ...]
) -> None:
    """Own calls pass, except those on the list, those whose arguments reach out, and x32's."""
    code, _ = filter_code(machine, signals=False)
    assert run(code, number, machine.audit, *arguments) == expected(machine, number, arguments)


@BOTH
@given(number=st.integers(0, 500), architecture=st.integers(0, 2**32 - 1))
def test_other_architectures_are_denied(machine: Machine, number: int, architecture: int) -> None:
    """The 32-bit doors of a 64-bit kernel, whose numbers mean other calls, stay shut."""
    code, _ = filter_code(machine, signals=False)
    if architecture != machine.audit:
        assert run(code, number, architecture, 1) == DENY


@BOTH
def test_signals_go_to_the_process_itself(machine: Machine) -> None:
    """Where Landlock scopes no signals, the filter knows the one process that may get them."""
    code, places = filter_code(machine, signals=True)
    mine = bytearray(code)
    for at in places:
        mine[at : at + 4] = (4711).to_bytes(4, "little")
    for name in ("kill", "tgkill"):
        number = machine.number(name)
        assert number is not None
        assert run(bytes(mine), number, machine.audit, 4711, 6) == ALLOW
        for other in (1, 4712, 2**32 - 1, 0):  # -1 is everybody, 0 the whole group
            assert run(bytes(mine), number, machine.audit, other, 9) == DENY


@BOTH
def test_numbers_are_the_kernels(machine: Machine) -> None:
    """Each number is what this system's header says, where there is one."""
    header = Path(_HEADERS[machine])
    if not header.exists():
        pytest.skip("no kernel headers")
    pattern = re.compile(r"#define __NR(?:3264)?_(\w+) (\d+)")
    numbers = {name: int(number) for name, number in pattern.findall(header.read_text())}
    for name in seccomp._CALLS:
        if name in numbers:
            assert machine.number(name) == numbers[name], name
