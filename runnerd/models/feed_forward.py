"""How wide the feed-forward layers of a model are: its largest activations.

The tensors tell.  A header has lengths that some architectures do not use, and none that others
take for their experts.
"""

from __future__ import annotations

from typing import NamedTuple

from runnerd.models.gguf_header import GGUFHeader

_DENSE, _EXPERTS, _MERGED = "ffn_up.weight", "ffn_up_exps.weight", "ffn_gate_up_exps.weight"
_GATES = ("ffn_gate.weight", "ffn_gate_exps.weight", _MERGED)


class FeedForward(NamedTuple):
    """Elements per token: of a dense layer, of one expert, 0 where there is none; `gated`: a gate
    as wide is held beside it.
    """

    dense: int
    expert: int
    gated: bool


def feed_forward(header: GGUFHeader, architecture: str) -> FeedForward:
    """Return the widths of the widest layers."""
    dense = expert = 0
    gated = False
    for tensor in header.tensors:
        _, _, name = tensor.name.rpartition("blk.")[2].partition(".")
        if len(tensor.shape) < 2:
            continue
        if name == _DENSE:
            dense = max(dense, tensor.shape[1])
        elif name == _EXPERTS:
            expert = max(expert, tensor.shape[1])
        elif name == _MERGED:  # the gate's rows, and as many of the other
            expert = max(expert, tensor.shape[1] // 2)
        gated = gated or name in _GATES
    if dense or expert:
        return FeedForward(dense, expert, gated)
    # A first part without layers.
    dense = header.number(f"{architecture}.feed_forward_length")
    used = header.number(f"{architecture}.expert_used_count")
    expert = header.number(f"{architecture}.expert_feed_forward_length")
    return FeedForward(dense, expert or (dense if used else 0), True)
