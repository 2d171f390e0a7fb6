"""What stands before the weights of a GGUF file, once it was read and checked (`gguf`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool


Value = Scalar | list[Scalar]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file.  `nbytes` is None when the type is not known here."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    nbytes: int | None

    @property
    def elements(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """The header of a GGUF file: all that stands before the weights.  `name` is the file's.

    `metadata` holds scalars, strings and short arrays; `lengths` the length of every array, the
    skipped ones too.  `file_bytes` is the real size, at least `expected_bytes`; `header_bytes` is
    where the header ends.
    """

    name: str
    version: int
    metadata: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: tuple[Tensor, ...]
    alignment: int
    expected_bytes: int
    file_bytes: int
    elements_by_type: Mapping[int, int] = field(default_factory=dict)
    header_bytes: int = 0

    @property
    def parameters(self) -> int:
        """The number of weights in this file."""
        return sum(self.elements_by_type.values())

    def text(self, key: str) -> str:
        """Return a string of the metadata, "" where there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a number from 0 up (of an array, the largest), 0 where there is none."""
        value = self.metadata.get(key, 0)
        numbers = value if isinstance(value, list) else [value]
        return max(
            (number for number in numbers if isinstance(number, int) and number > 0), default=0
        )
