"""Models of one to eight billion parameters with random weights, written quantised.

One matrix of each size is drawn and quantised, a few hundred rows of it, and repeated: what counts
is how many bytes are read and multiplied, not what they say.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from bench.models import SHAPES, Shape, write
from bench.projectors import CASES, Projector

_ROWS = 256  # drawn of each matrix
_TYPES = {
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
    "Q4_0": gguf.GGMLQuantizationType.Q4_0,
}

ONE = Shape("1.2B (Llama 3.2)", "llama", 2048, 16, 32, 8, 64, 8192, 128256, merges=True)
EIGHT = Shape("8B (Llama 3.1)", "llama", 4096, 32, 32, 8, 128, 14336, 128256, merges=True)
EXPERTS = Shape(
    "MoE 3.6B (Qwen3 MoE, 64 experts of 16 blocks)",
    "qwen3moe", 2048, 16, 32, 4, 128, 512, 151936, experts=(64, 8), merges=True,
)  # fmt: skip
ENCODER = Shape("335M (BGE large)", "bert", 1024, 24, 16, 16, 64, 4096, 30522)
SEEING: Projector = CASES[0][0]

SMALL = {
    ONE: Shape("13M", "llama", 256, 4, 4, 2, 64, 1024, 32000),
    EXPERTS: Shape(
        "MoE 10M", "qwen3moe", 256, 4, 4, 2, 64, 256, 32000, experts=(8, 2), merges=True
    ),
    ENCODER: SHAPES[5],
}
"""What stands for them where there is no GPU; nothing does for the largest."""


class QuantizedMatrices:
    """Random matrices of one type, one for each size."""

    def __init__(self, quantization: str) -> None:
        self._quantization = _TYPES[quantization]
        self.type: gguf.GGMLQuantizationType | None = self._quantization
        self._random = np.random.default_rng(1)
        self._drawn: dict[tuple[int, ...], np.ndarray] = {}

    def of(self, dimensions: tuple[int, ...]) -> np.ndarray:
        """Return the one of this size, as bytes of its blocks."""
        if dimensions not in self._drawn:
            *heads, rows, width = dimensions
            drawn = min(rows, _ROWS)
            some = self._random.standard_normal((drawn, width), dtype=np.float32) * 0.02
            blocks = gguf.quants.quantize(some, self._quantization)
            whole = np.tile(blocks, (-(-rows // drawn), 1))[:rows]
            self._drawn[dimensions] = np.tile(whole, (*heads, 1, 1)) if heads else whole
        return self._drawn[dimensions]


def write_quantized(path: Path, shape: Shape, quantization: str) -> None:
    """Write a model whose matrices are of type `quantization` ("Q8_0", "Q4_0")."""
    write(path, shape, QuantizedMatrices(quantization))
