"""What a model is, in the words that people and schedulers use, drawn from its GGUF headers.

A description is computed once, when a model comes in, and kept beside it as JSON: listing models
and deciding about them never opens a GGUF again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runnerd.backends.model_files import ModelFacts, SenseFacts
from runnerd.errors import InvalidModelFile
from runnerd.models.attention import (
    ENCODERS,
    cached,
    encodes,
    head_count,
    indexer_width,
    recurrent,
)
from runnerd.models.drafting import drafts_as
from runnerd.models.feed_forward import feed_forward
from runnerd.models.gguf_header import GGUFHeader, Value
from runnerd.models.modelfile import Modelfile
from runnerd.models.multimodal import senses
from runnerd.models.tensors import FILE_TYPE_GUESSED, FILE_TYPES, TENSOR_TYPES
from runnerd.units import binary_size, scaled_count

_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_LONG_ROPE = "rope_factors_long"

_INFILL = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")

_INSTEAD = {
    "model": "it is a whole model, not a projector",
    "mmproj": "it is a projector; import the model and give this file as its mmproj",
    "adapter": "it is an adapter (LoRA), which is no model by itself: create one with it "
    "(POST /api/create, `adapters`)",
    "part": "it is a later part of a split model; import the first part, with the others beside it",
}


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that is known about a model besides where it is.

    `metadata` is the GGUF metadata as text, without the vocabulary; `context_length` is the
    trained maximum in tokens, `context_size` what the model's packager asked for, each None where
    not stated.
    """

    architecture: str
    parameters: str
    quantization: str
    size: str
    capabilities: tuple[str, ...]
    facts: ModelFacts
    context_length: int | None = None
    context_size: int | None = None
    chat_template: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    modelfile: Modelfile = field(default_factory=Modelfile)
    parameter_count: int = 0
    senses: tuple[SenseFacts, ...] = ()


def facts(header: GGUFHeader) -> ModelFacts:
    """Return the numbers of `header` that a memory estimate needs."""
    architecture = header.text("general.architecture")

    def number(key: str) -> int:
        return header.number(f"{architecture}.{key}")

    heads, width = head_count(header, architecture), number("embedding_length")
    per_head = width // heads if heads else 0
    forward = feed_forward(header, architecture)
    cache, state = cached(header, architecture), recurrent(header, architecture)
    return ModelFacts(
        architecture=architecture,
        block_count=number("block_count"),
        embedding_length=width,
        head_count=heads,
        head_count_kv=number("attention.head_count_kv") or heads,
        key_length=number("attention.key_length") or per_head,
        value_length=number("attention.value_length") or per_head,
        context_length=number("context_length"),
        vocabulary_size=header.lengths.get("tokenizer.ggml.tokens", 0) or number("vocab_size"),
        pooling=_pooling(header),
        feed_forward_length=forward.dense,
        expert_used_count=number("expert_used_count"),
        expert_feed_forward_length=forward.expert,
        cache_width=cache.whole,
        window_width=cache.windowed,
        window=cache.window,
        merges=header.lengths.get("tokenizer.ggml.merges", 0),
        state_width=state.width,
        inner_length=state.inner,
        encodes=encodes(header, architecture),
        gated=forward.gated,
        indexer_width=indexer_width(header, architecture),
        long_rope=any(tensor.name.startswith(_LONG_ROPE) for tensor in header.tensors),
        drafts_as=drafts_as(header, architecture),
    )


def describe(
    shards: Sequence[GGUFHeader],
    *,
    mmproj: GGUFHeader | None = None,
    chat_template: str | None = None,
    context_size: int | None = None,
    modelfile: Modelfile | None = None,
) -> Description:
    """Describe the model whose weights have the headers `shards`, the first one first.

    `chat_template` replaces the one in the file.  Raises errors.InvalidModelFile for files that
    are not a model's weights (a projector, an adapter, a vocabulary).
    """
    first = shards[0]
    check_role(first, "model")
    if not any(shard.tensors for shard in shards):
        raise _refusal(first, "it holds a vocabulary but no weights, so nothing can be served")
    template = chat_template or first.text("tokenizer.chat_template") or None
    found, modelfile = facts(first), modelfile or Modelfile()
    perceived = senses(mmproj) if mmproj else ()
    count = sum(shard.parameters for shard in shards)
    return Description(
        architecture=found.architecture,
        parameters=scaled_count(count),
        quantization=quantization(shards),
        size=binary_size(sum(shard.file_bytes for shard in shards)),
        capabilities=_capabilities(shards, perceived, template),
        facts=found,
        context_length=found.context_length or None,
        context_size=context_size or modelfile.context_size or found.context_length or None,
        chat_template=template,
        metadata=_as_text(first.metadata),
        modelfile=modelfile,
        parameter_count=count,
        senses=perceived,
    )


def role(header: GGUFHeader) -> str:
    """What the file is for: `model`, `mmproj`, `adapter`, or `part` (a later shard)."""
    kind = header.text("general.type")
    if kind in ("adapter", "mmproj"):
        return kind
    if header.text("general.architecture") == "clip":
        return "mmproj"
    return "part" if header.number("split.no") > 0 else "model"


def check_role(header: GGUFHeader, wanted: str) -> None:
    """Raise errors.InvalidModelFile unless the file is a `wanted`: `model`, `mmproj`, `adapter`."""
    found = role(header)
    if found == wanted and (wanted != "model" or header.text("general.architecture")):
        return
    if found == wanted:
        raise _refusal(header, "it does not say its architecture (general.architecture)")
    raise _refusal(header, _INSTEAD[found])


def _refusal(header: GGUFHeader, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"{header.name} cannot be used: {reason}")


def _pooling(header: GGUFHeader) -> str:
    architecture = header.text("general.architecture")
    value = header.metadata.get(f"{architecture}.pooling_type")
    return _POOLING.get(value, "") if isinstance(value, int) else ""


def quantization(shards: Sequence[GGUFHeader]) -> str:
    """Return the name of what most of the weights were quantized to, such as `Q4_K_M`."""
    stated = shards[0].metadata.get("general.file_type")
    if isinstance(stated, int) and (name := FILE_TYPES.get(stated & ~FILE_TYPE_GUESSED)):
        return name
    counts: Counter[int] = Counter()
    for shard in shards:
        counts.update(shard.elements_by_type)
    commonest = counts.most_common(1)[0][0]
    known = TENSOR_TYPES.get(commonest)
    return known.name if known else f"type {commonest}"


def _capabilities(
    shards: Sequence[GGUFHeader], perceived: Sequence[SenseFacts], template: str | None
) -> tuple[str, ...]:
    pooling = _pooling(shards[0])
    encoder = shards[0].text("general.architecture") in ENCODERS
    ranks = pooling == "rank" or any(
        tensor.name.startswith("cls.") for shard in shards for tensor in shard.tensors
    )
    embeds = pooling in ("mean", "cls", "last") or (encoder and not ranks)
    found = []
    if embeds:
        found.append("embedding")
    if ranks:
        found.append("reranking")
    if not found:
        found.append("completion")
        found += _template_capabilities(template or "")
        found += ["insert"] if any(key in shards[0].metadata for key in _INFILL) else []
    return tuple(found + ["audio" if sense.hears else "vision" for sense in perceived])


def _template_capabilities(template: str) -> list[str]:
    found = ["tools"] if "tools" in template else []
    if "<think>" in template or "enable_thinking" in template:
        found.append("thinking")
    return found


def _as_text(metadata: Mapping[str, Value]) -> dict[str, str]:
    return {key: _text(value) for key, value in metadata.items()}


def _text(value: Value) -> str:
    if isinstance(value, list):
        return ", ".join(_text(element) for element in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return str(value)
