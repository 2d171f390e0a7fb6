"""What taking a model in has cost in bytes, told to who imports one."""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.units import binary_size


@dataclass(slots=True)
class Cost:
    """What taking a model in has cost, in bytes of files: `cloned` ones share their space with the
    originals, `copied` ones take their own, `present` ones were here already and `borrowed` ones
    stay where they are: both take none.
    """

    cloned: int = 0
    copied: int = 0
    present: int = 0
    borrowed: int = 0

    def count(self, size: int, *, here: bool, cloned: bool, borrowed: bool = False) -> None:
        """Add one file."""
        if here:
            self.present += size
        elif borrowed:
            self.borrowed += size
        elif cloned:
            self.cloned += size
        else:
            self.copied += size

    def __str__(self) -> str:
        ways = (
            (self.cloned, "cloned: it shares the space of the original"),
            (self.copied, "copied: it takes its own space, and the original can go"),
            (self.present, "here already: it takes no space"),
            (self.borrowed, "borrowed: it stays where it is, and must not be changed"),
        )
        return "; ".join(f"{binary_size(size)} {way}" for size, way in ways if size)
