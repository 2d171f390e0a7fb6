"""How a model that was made to draft for another one does that.

llama.cpp is told the kind (`--spec-type`); it finds some of them out by itself, by the same tensors
(`common_speculative_types_from_gguf` in its `common/speculative.cpp`), but not all.
"""

from __future__ import annotations

from runnerd.models.gguf_header import GGUFHeader

_BY_ARCHITECTURE = {"eagle3": "eagle3", "gemma4-assistant": "mtp"}
_MARKOV_HEAD = "markov_w1.weight"


def drafts_as(header: GGUFHeader, architecture: str) -> str:
    """`mtp`, `eagle3`, `dflash` or `dspark`; empty for an ordinary model.

    An ordinary model may have layers for the tokens after the next one (MTP, also called NextN)
    behind all its own: as the draft of another one it drafts token by token.
    """
    names = {tensor.name for tensor in header.tensors}
    if architecture == "dflash":
        return "dspark" if _MARKOV_HEAD in names else "dflash"
    last = header.number(f"{architecture}.block_count") - 1
    is_whole = last > 0 and any(name.startswith("blk.0.") for name in names)
    if f"blk.{last}.nextn.eh_proj.weight" in names and not is_whole:
        return "mtp"
    return _BY_ARCHITECTURE.get(architecture, "")
