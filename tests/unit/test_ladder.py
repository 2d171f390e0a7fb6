"""Which instruction sets an engine is built without, one rung after another."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runnerd.backends.llamacpp.building.ladder import TOP, ladder
from runnerd.backends.llamacpp.trial.identity import Processor


def processor(machine: str, *flags: str) -> Processor:
    return Processor(machine, "a processor", frozenset(flags))


@pytest.mark.parametrize(
    ("machine", "flags", "without"),
    [
        ("x86_64", (), ["AVX and whatever came later"]),
        ("AMD64", ("avx2",), ["anything beyond AVX2", "AVX and whatever came later"]),
        (
            "x86_64",
            ("amx_tile", "avx512f", "avx2"),
            ["AMX", "AVX-512", "anything beyond AVX2", "AVX and whatever came later"],
        ),
        ("aarch64", (), ["extensions of ARMv8"]),
        ("arm64", ("i8mm",), ["I8MM", "extensions of ARMv8"]),
        ("aarch64", ("sve", "bf16"), ["SVE", "SVE and BF16", "extensions of ARMv8"]),
        ("riscv64", ("v",), []),
    ],
)
def test_rungs_that_change_something(
    machine: str, flags: tuple[str, ...], without: list[str]
) -> None:
    """The whole processor first; then sets that it announces, the newest first."""
    first, *others = ladder(processor(machine, *flags))
    assert first == TOP
    assert [rung.without for rung in others] == without


def test_each_rung_takes_away_what_the_one_before_did() -> None:
    """Else an engine that dies of AMX would die of it again, further down."""
    rungs = ladder(processor("x86_64", "amx_tile", "avx512f", "avx2"))
    for above, below in pairwise(rungs):
        assert set(above.variants) <= set(below.variants)
    amx, avx512 = rungs[1:3]
    assert set(amx.flags) < set(avx512.flags)


def test_what_a_user_is_told() -> None:
    """That the processor says that it has something, and does not."""
    top, amx, *_ = ladder(processor("x86_64", "amx_tile"))
    assert top.sentence == "built for this processor"
    assert amx.sentence == "built without AMX, which this processor announces and does not run"
