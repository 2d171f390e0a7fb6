"""How a model and its draft model are served, as far as it decides what they hold in memory.

The draft model gets the context, the slots and the batches of the model that it drafts for, but
llama-server takes the type of its cache and its layers on a GPU from flags of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.batches import PHYSICAL_BATCH, batch_tokens
from runnerd.backends.llamacpp.command import (
    cache_tokens,
    context_tokens,
    fuses_attention,
    shares_cache,
    slot_count,
)
from runnerd.backends.llamacpp.devices import PLACING
from runnerd.backends.llamacpp.flags import parse_flags, said
from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles

_KEY_TYPE, _VALUE_TYPE = "--cache-type-k", "--cache-type-v"
_CACHE_TYPE = "f16"  # llama.cpp's default

# What changes the account; llama-fit-params refuses flags that only the server has.
_THAT_COUNT = frozenset({
    *PLACING, _KEY_TYPE, _VALUE_TYPE,
    "--batch-size", "--ubatch-size", "--kv-offload", "--no-kv-offload", "--swa-full",
    "--flash-attn", "--override-tensor", "--override-kv", "--fit", "--fit-target", "--fit-ctx",
    "--load-mode", "--mmap", "--no-mmap", "--mlock", "--direct-io", "--cpu-moe", "--n-cpu-moe",
    "--n-cpu-ffn", "--no-repack", "--no-op-offload", "--no-host",
})  # fmt: skip

# What a draft model does not take from the model, and the server's names for what it has instead.
_NOT_FOR_DRAFTS = frozenset({
    _KEY_TYPE, _VALUE_TYPE, "--n-gpu-layers", "--cpu-moe", "--n-cpu-moe", "--n-cpu-ffn",
    "--override-tensor", "--override-kv",
})  # fmt: skip
_OF_DRAFTS = {
    "--spec-draft-type-k": _KEY_TYPE, "--spec-draft-type-v": _VALUE_TYPE,
    "--spec-draft-ngl": "--n-gpu-layers", "--spec-draft-device": "--device",
    "--spec-draft-override-tensor": "--override-tensor", "--spec-draft-cpu-moe": "--cpu-moe",
    "--spec-draft-n-cpu-moe": "--n-cpu-moe",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Serving:
    """What one model is given, and `flags` for llama-fit-params that say the rest."""

    load: Workload
    flags: tuple[str, ...]


def model_serving(
    files: ModelFiles,
    configuration: BackendConfiguration,
    mode: BackendMode,
    settings: LlamaCppSettings,
    placing: Sequence[str],
) -> Serving:
    """Return how a model is served; `placing` are the flags of its placement."""
    context = context_tokens(files, configuration, settings)
    flags = parse_flags(configuration.runtime_flags)
    values = dict(itertools.pairwise(flags))
    batch = batch_tokens(files.facts, mode, context, flags, settings) or PHYSICAL_BATCH
    slots = slot_count(configuration, settings)
    load = Workload(
        context=context if files.facts.encodes else cache_tokens(context, slots),
        slots=slots,
        batch=int(values.get("--ubatch-size", batch)),
        unified=files.facts.encodes or shares_cache(files, flags),
        embeds=mode is not BackendMode.COMPLETION,
        key_type=values.get(_KEY_TYPE, _CACHE_TYPE),
        value_type=values.get(_VALUE_TYPE, _CACHE_TYPE),
        whole_windows="--swa-full" in flags,
        image_tokens=int(values.get("--image-max-tokens", 0)),
        image_batch=int(values.get("--mtmd-batch-max-tokens", 1024)),
        fused=fuses_attention(files, flags),
    )
    counted = (each for each in said(flags) if each[0] in _THAT_COUNT)
    return Serving(load, (*_joined(counted), *placing))


def draft_serving(model: Serving, configuration: BackendConfiguration) -> Serving:
    """Return how the draft model is served beside a model."""
    own = {
        _OF_DRAFTS[name]: values
        for name, *values in said(parse_flags(configuration.runtime_flags))
        if name in _OF_DRAFTS
    }
    shared = (each for each in said(model.flags) if each[0] not in _NOT_FOR_DRAFTS | own.keys())
    load = replace(
        model.load,
        key_type=own.get(_KEY_TYPE, [_CACHE_TYPE])[-1],
        value_type=own.get(_VALUE_TYPE, [_CACHE_TYPE])[-1],
    )
    return Serving(load, (*_joined(shared), *_joined((name, *own[name]) for name in own)))


def _joined(said: Iterable[Sequence[str]]) -> list[str]:
    return [token for group in said for token in group]
