"""Values in a GGUF header that no model can have: refused when a file comes in.

llama.cpp takes a context of 0, or of more tokens than its numbers hold, as it stands there, loads
the model, and aborts at the first request.  A model's maker says each of these once and means it,
so a value outside of what can be is damage or malice.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnerd.errors import InvalidModelFile
from runnerd.models.gguf_header import GGUFHeader, Scalar

_TOKENS = 2**28  # a hundred times what the longest contexts of today are
_RANGES = {
    "context_length": (1, _TOKENS),
    "block_count": (1, 2**16),
    "embedding_length": (1, 2**24),
    "embedding_length_out": (0, 2**24),
    "feed_forward_length": (0, 2**26),
    "expert_feed_forward_length": (0, 2**26),
    "expert_count": (0, 2**16),
    "expert_used_count": (0, 2**16),
    "leading_dense_block_count": (0, 2**16),
    "nextn_predict_layers": (0, 2**16),
    "vocab_size": (0, 2**28),
    "attention.head_count": (0, 2**16),
    "attention.head_count_kv": (0, 2**16),
    "attention.key_length": (0, 2**20),
    "attention.value_length": (0, 2**20),
    "rope.dimension_count": (0, 2**20),
    "rope.scaling.original_context_length": (0, _TOKENS),
    "ssm.conv_kernel": (0, 2**16),
    "ssm.inner_size": (0, 2**26),
    "ssm.state_size": (0, 2**20),
    "ssm.time_step_rank": (0, 2**20),
    "ssm.group_count": (0, 2**20),
}
"""Behind the architecture's name: the least and the most; of an array, of each value."""


def check_values(header: GGUFHeader) -> None:
    """Raise errors.InvalidModelFile for a number that cannot be."""
    architecture = header.text("general.architecture")
    for name, (least, most) in _RANGES.items():
        key = f"{architecture}.{name}"
        for value in _values(header, key):
            if not isinstance(value, int) or isinstance(value, bool):
                raise _refusal(header, f"its {key} is {value!r:.40}, and no whole number")
            if not least <= value <= most:
                raise _refusal(header, f"its {key} is {value}; {least} to {most} are possible")


def _values(header: GGUFHeader, key: str) -> Iterator[Scalar]:
    value = header.metadata.get(key)
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


def _refusal(header: GGUFHeader, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"{header.name} cannot be used: {reason}")
