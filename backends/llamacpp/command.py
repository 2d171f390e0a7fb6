"""The engine's command line, built from typed values only.

What is left out matters as much: no -ngl, so that llama.cpp fits the model to the devices itself;
not the trained maximum as the context; no option that opens a file, a port or a URL of a client's
choice.

Every slot has the whole context for itself: the engine's own default, several slots over one
context, lets requests that each fit fail each other.  The slots lie in one cache, and each is held
to its part of the tokens; a cache for each would make the engine evaluate in several steps what
comes from slots that are no neighbours, or a prompt beside responses.  Only where the length of the
whole cache would change what is computed has each slot a cache of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.batches import batch_tokens, limited_context, pooling
from runnerd.backends.llamacpp.devices import placement_flags
from runnerd.backends.llamacpp.flags import parse_flags, spelled
from runnerd.backends.llamacpp.footprint import checkpoint_bytes
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles
from runnerd.errors import NotSupported

CHECKPOINTS = "--ctx-checkpoints"
_AUTOMATIC_CHECKPOINTS = 32  # of each slot, where llama-server is not told
_MIB = 2**20
_TRAINED_MAXIMUM = -1
_VERBOSITY, _SAYS_WHERE_LAYERS_LIE = "--log-verbosity", "4"
AUTOMATIC_SLOTS = 4  # what llama-server takes where it is not told
SLOT_CONTEXT = "--kv-unified-per-slot"  # holds whichever cache a slot lies in
_MOST_TOKENS = 2**31 - 1  # what the engine's numbers hold


@dataclass(frozen=True, slots=True)
class Launch:
    """What an engine is started for.

    `draft` holds the files of the speculative model, `slots` is the folder where the engine may
    save its slots, None where it must not.  `devices` are its own names of the GPUs, needed only
    for a placement that names some.
    """

    socket: Path
    model_ref: str
    files: ModelFiles
    draft: ModelFiles | None
    mode: BackendMode
    configuration: BackendConfiguration
    slots: Path | None = None
    devices: tuple[str, ...] = ()


def context_tokens(
    files: ModelFiles, configuration: BackendConfiguration, settings: LlamaCppSettings
) -> int:
    """Return the context size to ask for; 0 for a trained maximum that we do not know."""
    trained = files.facts.context_length
    if configuration.context_size == _TRAINED_MAXIMUM:
        return trained
    if configuration.context_size:
        return configuration.context_size
    wanted = files.context_size or settings.default_context
    return limited_context(files.facts, min(trained, wanted) if trained else wanted, settings)


def slot_count(configuration: BackendConfiguration, settings: LlamaCppSettings) -> int:
    """Return how many requests the native server will take at once, at most."""
    return slot_counts(configuration, settings)[0]


def slot_counts(configuration: BackendConfiguration, settings: LlamaCppSettings) -> tuple[int, ...]:
    """Return how many requests the native server may be started for at once, the most first.

    What an owner says of a model is a promise; else it is as many as there is memory for.
    """
    flags = parse_flags(configuration.runtime_flags)
    said = [int(value) for name, value in itertools.pairwise(flags) if name == "--parallel"]
    if said and said[-1] > 0:
        return (said[-1],)
    if configuration.parallel is not None:
        return (configuration.parallel,)
    counts = [settings.parallel or AUTOMATIC_SLOTS]
    while (last := counts[-1]) > 1:
        counts.append(last - 1 if last <= AUTOMATIC_SLOTS else last // 2)
    return tuple(counts)


def cache_tokens(context: int, slots: int) -> int:
    """Return the tokens of context of all slots together."""
    return min(context * slots, _MOST_TOKENS)


_NEVER_FUSED = frozenset({"grok"})
"""Architectures for which llama.cpp switches flash attention off."""


def shares_cache(files: ModelFiles, flags: Sequence[str]) -> bool:
    """Return whether the slots lie in one cache, each held to its part, or have one each.

    One is better, but the engine turns positions by the length of a whole cache where a model has
    factors for long contexts, and without flash attention it has a table as long as that.
    """
    for flag in reversed(flags):
        if flag in ("--kv-unified", "--no-kv-unified"):
            return flag == "--kv-unified"
    return not files.facts.long_rope and fuses_attention(files, flags)


def fuses_attention(files: ModelFiles, flags: Sequence[str]) -> bool:
    """Return whether attention does without a table of scores (flash attention)."""
    if files.facts.architecture in _NEVER_FUSED:
        return False
    return ("--flash-attn", "off") not in itertools.pairwise(flags)


def native_command(server: NativeServer, launch: Launch, settings: LlamaCppSettings) -> list[str]:
    """Return the argv of `llama-server`.  Raises errors.InvalidConfiguration for a wrong flag."""
    context = context_tokens(launch.files, launch.configuration, settings)
    argv = [str(server.path), "--host", str(launch.socket), "--model", str(launch.files.weights)]
    if launch.model_ref and not launch.model_ref.startswith("-") and "," not in launch.model_ref:
        argv += ["--alias", launch.model_ref]  # else answers would show the path
    argv += server.flags
    argv += _presence(server, ("--no-ui", "--no-webui"))
    argv += _presence(server, ("--offline",))
    argv += _presence(server, ("--metrics",))
    argv += _slot_flags(server, launch, context, slot_count(launch.configuration, settings))
    argv += _mode_flags(launch, context, settings)
    if settings.threads is not None:
        argv += ["--threads", str(settings.threads)]
    if launch.mode is BackendMode.COMPLETION and "--cache-ram" in server.options:
        argv += ["--cache-ram", str(settings.prompt_cache)]  # the engine's own default is 8 GiB
    if server.devices and _VERBOSITY in server.options:
        argv += [_VERBOSITY, _SAYS_WHERE_LAYERS_LIE]
    argv += _checkpoint_flags(server, launch, settings)
    if launch.files.mmproj is not None:
        argv += ["--mmproj", str(launch.files.mmproj)]
    if launch.files.chat_template is not None:
        argv += ["--chat-template-file", str(launch.files.chat_template)]
    for adapter in launch.files.adapters:
        argv += ["--lora", str(adapter)]
    argv += _draft_flags(server, launch)
    if launch.slots is not None and "--slot-save-path" in server.options:
        argv += ["--slot-save-path", f"{launch.slots}/"]
    argv += placement_flags(launch.configuration.placement, launch.devices)
    flags = _rest_of(parse_flags(launch.configuration.runtime_flags))
    if launch.configuration.isolate_users:
        flags = [*flags, *_isolating(server)]  # behind the owner's own, so that these count
    return argv + spelled(flags, server.options, server.version)


def _isolating(server: NativeServer) -> list[str]:
    """The flags with which an engine reuses nothing of what it has evaluated before: neither in a
    slot nor from its cache in RAM.  Raises errors.NotSupported where it has none.
    """
    if "--no-cache-prompt" not in server.options:
        raise NotSupported(
            "isolate_users: this llama-server always reuses the beginnings of prompts; install a"
            " newer one (runnerd install)"
        )
    return ["--no-cache-prompt", *(["--cache-ram", "0"] if "--cache-ram" in server.options else [])]


def _presence(server: NativeServer, names: tuple[str, ...]) -> list[str]:
    """Return the first of several names for one switch that this version knows."""
    return next(([name] for name in names if name in server.options), [])


def _slot_flags(server: NativeServer, launch: Launch, context: int, slots: int) -> list[str]:
    if not context:  # the engine's own maximum, which must not be divided
        return ["--ctx-size", "0", "--parallel", "1"]
    flags = ["--ctx-size", str(cache_tokens(context, slots)), "--parallel", str(slots)]
    bounded = SLOT_CONTEXT in server.options
    shares = shares_cache(launch.files, parse_flags(launch.configuration.runtime_flags))
    flags += _presence(server, ("--kv-unified" if bounded and shares else "--no-kv-unified",))
    return [*flags, SLOT_CONTEXT, str(context)] if bounded else flags


def _rest_of(flags: Sequence[str]) -> list[str]:
    """Return an owner's flags without the number of slots, which is said already."""
    rest, left = [], iter(flags)
    for token in left:
        if token == "--parallel":
            next(left, None)
        else:
            rest.append(token)
    return rest


def _mode_flags(launch: Launch, context: int, settings: LlamaCppSettings) -> list[str]:
    if launch.mode is BackendMode.COMPLETION:
        return []
    facts, flags = launch.files.facts, ["--embeddings"]
    said = parse_flags(launch.configuration.runtime_flags)
    if launch.mode is BackendMode.RERANKING:
        flags.append("--reranking")
    elif facts.pooling in ("", "none"):
        flags = ["--pooling", pooling(facts, []), *flags]
    batch = batch_tokens(facts, launch.mode, context, said, settings)
    if batch is not None:
        flags += ["--batch-size", str(batch), "--ubatch-size", str(batch)]
    return flags


def _checkpoint_flags(
    server: NativeServer, launch: Launch, settings: LlamaCppSettings
) -> list[str]:
    """Return how many states of each slot may be kept to go back to, where the engine's own number
    of them is more than all prompts may take.
    """
    each = checkpoint_bytes(launch.files.facts) * slot_count(launch.configuration, settings)
    if launch.mode is not BackendMode.COMPLETION or not each or CHECKPOINTS not in server.options:
        return []
    most = max(1, settings.prompt_cache * _MIB // each)
    return [CHECKPOINTS, str(most)] if most < _AUTOMATIC_CHECKPOINTS else []


def _draft_flags(server: NativeServer, launch: Launch) -> list[str]:
    speculative = launch.configuration.speculative
    if speculative is None or launch.draft is None:
        return []
    flags = ["--model-draft", str(launch.draft.weights)]
    new = "--spec-draft-n-max" in server.options
    if "--spec-type" in server.options:  # without it the draft model is loaded and not used
        flags += ["--spec-type", f"draft-{launch.draft.facts.drafts_as or 'simple'}"]
    if speculative.num_tokens:
        flags += ["--spec-draft-n-max" if new else "--draft-max", str(speculative.num_tokens)]
    if speculative.min_acceptance_rate:
        name = "--spec-draft-p-min" if new else "--draft-p-min"
        flags += [name, f"{speculative.min_acceptance_rate:.2f}"]
    return flags
