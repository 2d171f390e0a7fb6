"""runnerd.backends.sandbox: the filter, run by an interpreter of classic BPF."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.sandbox import _MACHINES, filter_code

ALLOW, DENY = 0x7FFF0000, 0x0005000D
X86_64, AARCH64 = _MACHINES["x86_64"], _MACHINES["aarch64"]


def run(code: bytes, number: int, architecture: int, argument: int) -> int:
    """Run a filter as the kernel does and return its verdict."""
    data = struct.pack("<IIQQ", number, architecture, 0, argument)
    instructions = list(struct.iter_unpack("=HBBI", code))
    accumulator = position = 0
    while True:
        operation, yes, no, value = instructions[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x15:
                position += yes if accumulator == value else no
            case 0x35:
                position += yes if accumulator >= value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@pytest.mark.parametrize("machine", [X86_64, AARCH64])
@given(
    number=st.one_of(st.integers(0, 500), st.integers(0, 2**32 - 1)),
    argument=st.one_of(st.integers(0, 50), st.integers(0, 2**64 - 1)),
)
def test_the_filter_denies_exactly_the_network(machine, number, argument) -> None:  # type: ignore[no-untyped-def]
    """Own calls pass, except a socket that is not AF_UNIX, io_uring, and the x32 numbers."""
    verdict = run(filter_code(machine), number, machine.audit, argument)
    denied = (
        number >= 0x40000000
        or number == machine.io_uring_setup
        or (number == machine.socket and argument & 0xFFFFFFFF != 1)
    )
    assert verdict == (DENY if denied else ALLOW)


@pytest.mark.parametrize("machine", [X86_64, AARCH64])
@given(number=st.integers(0, 500), architecture=st.integers(0, 2**32 - 1))
def test_other_architectures_are_denied(machine, number, architecture) -> None:  # type: ignore[no-untyped-def]
    """The 32-bit doors of a 64-bit kernel, whose numbers mean other calls, stay shut."""
    if architecture != machine.audit:
        assert run(filter_code(machine), number, architecture, 1) == DENY
