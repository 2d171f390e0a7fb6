"""Which instruction sets an engine is built without, one rung after another, until it runs.

`-march=native` takes what the processor announces.  Flags that come behind it take sets away again;
they are given to ggml's code for the processor alone, since nothing else is built with it.  A rung
that would change nothing on this processor is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runnerd.backends.llamacpp.trial.identity import Processor

_NO_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16", "-mno-amx-fp16")
_NO_AVX512 = (*_NO_AMX, "-mno-avx512f")


@dataclass(frozen=True, slots=True)
class Rung:
    """What to build without, in words, and the compiler's flags for it.

    `variants` are parts of the names of run-time variants (`--portable`) that are taken away.
    """

    without: str
    flags: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What a user should know about it."""
        if not self.without:
            return "built for this processor"
        return f"built without {self.without}, which this processor announces and does not run"


TOP = Rung("")


def ladder(processor: Processor) -> list[Rung]:
    """Return the rungs for a processor, the top one first."""
    if processor.machine in ("x86_64", "AMD64"):
        return [TOP, *_x86(processor.flags)]
    if processor.machine in ("aarch64", "arm64"):
        return [TOP, *_arm(processor.flags)]
    return [TOP]


def _x86(flags: frozenset[str]) -> list[Rung]:
    rungs = []
    if any(flag.startswith("amx") for flag in flags):
        rungs.append(Rung("AMX", _NO_AMX, ("sapphirerapids", "graniterapids")))
    if any(flag.startswith("avx512") for flag in flags):
        wide = ("sapphirerapids", "graniterapids", "skylakex", "cannonlake", "cascadelake",
                "icelake", "cooperlake", "zen4")  # fmt: skip
        rungs.append(Rung("AVX-512", _NO_AVX512, wide))
    if "avx2" in flags:
        rungs.append(Rung("anything beyond AVX2", ("-march=haswell",), (*_ALL_BUT, "alderlake")))
    every = (*_ALL_BUT, "alderlake", "haswell", "piledriver", "ivybridge", "sandybridge", "sse42")
    rungs.append(Rung("AVX and whatever came later", ("-march=x86-64",), every))
    return rungs


_ALL_BUT = ("sapphirerapids", "graniterapids", "skylakex", "cannonlake", "cascadelake", "icelake",
            "cooperlake", "zen4")  # fmt: skip


def _arm(features: frozenset[str]) -> list[Rung]:
    rungs = []
    scalable: list[str] = [name for name in ("sve", "sme") if name in features]
    if scalable:
        flags = "".join(f"+no{name}" for name in scalable)
        variants = ("armv8.6_1", "armv8.6_2", "armv9.2_1", "armv9.2_2", "armv8.2_3")
        rungs.append(Rung(_listed(scalable), (f"-mcpu=native{flags}",), variants))
    products: list[str] = [name for name in ("i8mm", "bf16") if name in features]
    if products:
        flags = "".join(f"+no{name}" for name in scalable + products)
        rungs.append(
            Rung(_listed(scalable + products), (f"-mcpu=native{flags}",), ("armv8.6", "armv9"))
        )
    rungs.append(Rung("extensions of ARMv8", ("-mcpu=generic",), ("armv8.2", "armv8.6", "armv9")))
    return rungs


def _listed(names: Sequence[str]) -> str:
    return " and ".join(name.upper() for name in names)
