"""How a model and its draft model are served, as far as it decides what they hold in memory.

The draft model gets the context, the slots and the batches of the model that it drafts for, but
llama-server takes the type of its cache and its layers on a GPU from flags of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runnerd.backends.interface import BackendConfiguration, BackendMode, ModelFiles
from runnerd.backends.llamacpp.command import cache_tokens, context_tokens, slot_count
from runnerd.backends.llamacpp.devices import PLACING
from runnerd.backends.llamacpp.flags import parse_flags
from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.llamacpp.settings import LlamaCppSettings

PHYSICAL_BATCH = 512  # llama.cpp's default

_KEY_TYPE, _VALUE_TYPE = "--cache-type-k", "--cache-type-v"
_CACHE_TYPE = "f16"  # llama.cpp's default

# What changes the account; llama-fit-params refuses flags that only the server has.
_THAT_COUNT = frozenset({
    *PLACING, _KEY_TYPE, _VALUE_TYPE,
    "--batch-size", "--ubatch-size", "--kv-offload", "--no-kv-offload", "--swa-full",
    "--flash-attn", "--fit", "--fit-target", "--fit-ctx", "--load-mode", "--cpu-moe",
    "--n-cpu-moe", "--n-cpu-ffn", "--no-repack", "--no-op-offload", "--no-host",
})  # fmt: skip

# What a draft model does not take from the model, and the server's names for what it has instead.
_NOT_FOR_DRAFTS = frozenset({
    _KEY_TYPE, _VALUE_TYPE, "--n-gpu-layers", "--cpu-moe", "--n-cpu-moe", "--n-cpu-ffn",
})  # fmt: skip
_OF_DRAFTS = {
    "--spec-draft-type-k": _KEY_TYPE, "--spec-draft-type-v": _VALUE_TYPE,
    "--spec-draft-ngl": "--n-gpu-layers", "--spec-draft-device": "--device",
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
    """Return how a model is served; `placing` are the flags of its placement.

    An encoder sees a whole text at once.
    """
    context = context_tokens(files, configuration, settings)
    flags = parse_flags(configuration.runtime_flags)
    values = dict(itertools.pairwise(flags))
    batch = context if mode is not BackendMode.COMPLETION and context else PHYSICAL_BATCH
    slots = slot_count(configuration, settings)
    keeps = mode is BackendMode.COMPLETION or files.facts.cache_width or files.facts.window_width
    load = Workload(
        context=cache_tokens(context, slots) if keeps else context,
        slots=slots,
        batch=int(values.get("--ubatch-size", batch)),
        key_type=values.get(_KEY_TYPE, _CACHE_TYPE),
        value_type=values.get(_VALUE_TYPE, _CACHE_TYPE),
        whole_windows="--swa-full" in flags,
        image_tokens=int(values.get("--image-max-tokens", 0)),
        fused=values.get("--flash-attn") != "off",
    )
    counted = (said for said in _said(flags) if said[0] in _THAT_COUNT)
    return Serving(load, (*_joined(counted), *placing))


def draft_serving(model: Serving, configuration: BackendConfiguration) -> Serving:
    """Return how the draft model is served beside a model."""
    own = {
        _OF_DRAFTS[name]: values
        for name, *values in _said(parse_flags(configuration.runtime_flags))
        if name in _OF_DRAFTS
    }
    shared = (said for said in _said(model.flags) if said[0] not in _NOT_FOR_DRAFTS | own.keys())
    load = replace(
        model.load,
        key_type=own.get(_KEY_TYPE, [_CACHE_TYPE])[-1],
        value_type=own.get(_VALUE_TYPE, [_CACHE_TYPE])[-1],
    )
    return Serving(load, (*_joined(shared), *_joined((name, *own[name]) for name in own)))


def _said(flags: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each flag with its values."""
    starts = [place for place, token in enumerate(flags) if token.startswith("--")]
    return [tuple(flags[a:b]) for a, b in itertools.pairwise([*starts, len(flags)])]


def _joined(said: Iterable[Sequence[str]]) -> list[str]:
    return [token for group in said for token in group]
