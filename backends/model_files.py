"""Where a model's files are and what their headers say, as far as a backend needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a GGUF header says, as far as a memory estimate needs it.  0 means: not stated.

    Widths are in elements; `key_length` and `value_length` are per attention head.  `cache_width`
    is what one token takes of K and V in all layers that keep the whole context, `window_width` in
    those that keep the last `window` tokens of each sequence; `state_width` what each sequence
    keeps in recurrent layers, `inner_length` how wide these are inside.  `encodes`: it keeps
    nothing, and sees a text whole.  `long_rope`: positions are turned otherwise where the engine's
    context is longer than that of the first training.  `gated`: a feed-forward layer holds a gate
    beside its widest activation.  `indexer_width` is that of the queries that choose which tokens a
    layer looks at.  `drafts_as` is how a model that was made to draft for another one does that:
    `mtp`, `eagle3`, `dflash` or `dspark`; an ordinary model drafts token by token.
    """

    architecture: str = ""
    block_count: int = 0
    embedding_length: int = 0
    head_count: int = 0
    head_count_kv: int = 0
    key_length: int = 0
    value_length: int = 0
    context_length: int = 0
    vocabulary_size: int = 0
    pooling: str = ""
    feed_forward_length: int = 0
    expert_used_count: int = 0
    expert_feed_forward_length: int = 0
    cache_width: int = 0
    window_width: int = 0
    window: int = 0
    merges: int = 0
    state_width: int = 0
    inner_length: int = 0
    encodes: bool = False
    long_rope: bool = False
    gated: bool = True
    indexer_width: int = 0
    drafts_as: str = ""


@dataclass(frozen=True, slots=True)
class SenseFacts:
    """What a projector's header says of its eyes or ears, of the largest input that it takes.

    An image (or each of its tiles), or a piece of a sound, becomes `tokens` at most, each of them
    of `token_positions` positions (patches, frames); a position is `position_inputs` numbers wide.
    `pieces` is into how many of these one image is cut at most.  `adjustable`: the engine can be
    told other `tokens`; for `reserved_tokens` it reserves room at its start.  `batches`: several
    pieces are evaluated at once.  `masked`: with a mask of all positions by all positions.
    `gated`: the feed-forward layers have a gate, as wide as they are.
    """

    embedding_length: int = 0
    feed_forward_length: int = 0
    head_count: int = 0
    tokens: int = 0
    token_positions: int = 1
    position_inputs: int = 0
    pieces: int = 1
    adjustable: bool = False
    reserved_tokens: int = 0
    batches: bool = False
    masked: bool = False
    gated: bool = False
    hears: bool = False


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model's files are and what they hold.

    `weights` is the first (or only) GGUF; the further shards lie beside it under the names that
    llama.cpp expects.  `weights_bytes` counts every shard and the LoRA `adapters`.
    `context_size` is what the model's maker asks for, in tokens, None where nobody does.
    `senses` is what `mmproj` sees and hears with.  Models with the same `load` have the same of all
    of this.
    """

    weights: Path
    weights_bytes: int
    mmproj: Path | None = None
    chat_template: Path | None = None
    adapters: tuple[Path, ...] = ()
    context_size: int | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)
    senses: tuple[SenseFacts, ...] = ()
    load: str = ""


class ModelResolver(Protocol):
    """Says where the files of a model are."""

    def resolve(self, model: str) -> ModelFiles:
        """Return the files of a model id or reference.

        Raises errors.ModelNotFound.
        """
        ...
