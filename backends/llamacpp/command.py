"""The engine's command line, built from typed values only.

What is left out matters as much: no -ngl, so that llama.cpp fits the model to the devices itself;
not the trained maximum as the context; no option that opens a file, a port or a URL of a client's
choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.interface import (
    BackendConfiguration,
    BackendMode,
    ModelFiles,
)
from runnerd.backends.llamacpp.batches import batch_tokens, limited_context, pooling
from runnerd.backends.llamacpp.devices import placement_flags
from runnerd.backends.llamacpp.flags import parse_flags, spelled
from runnerd.backends.llamacpp.server import NativeServer
from runnerd.backends.llamacpp.settings import LlamaCppSettings

_TRAINED_MAXIMUM = -1
_AUTOMATIC_SLOTS = 4  # what llama-server takes where it is not told


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
    """Return how many requests the native server will take at once."""
    flags = parse_flags(configuration.runtime_flags)
    if "--parallel" in flags:
        asked = int(flags[flags.index("--parallel") + 1])
        return asked if asked > 0 else _AUTOMATIC_SLOTS
    return configuration.parallel or settings.parallel or _AUTOMATIC_SLOTS


def native_command(server: NativeServer, launch: Launch, settings: LlamaCppSettings) -> list[str]:
    """Return the argv of `llama-server`.  Raises errors.InvalidConfiguration for a wrong flag."""
    context = context_tokens(launch.files, launch.configuration, settings)
    argv = [str(server.path), "--host", str(launch.socket), "--model", str(launch.files.weights)]
    if launch.model_ref and not launch.model_ref.startswith("-") and "," not in launch.model_ref:
        argv += ["--alias", launch.model_ref]  # else answers would show the path
    argv += _presence(server, ("--no-ui", "--no-webui"))
    argv += _presence(server, ("--offline",))
    argv += ["--ctx-size", str(context)]
    argv += _mode_flags(launch, context, settings)
    parallel = launch.configuration.parallel or settings.parallel
    if parallel is not None:
        argv += ["--parallel", str(parallel)]
        argv += _presence(
            server, ("--kv-unified",)
        )  # else each slot gets a fraction of the context
    if settings.threads is not None:
        argv += ["--threads", str(settings.threads)]
    if launch.mode is BackendMode.COMPLETION and "--cache-ram" in server.options:
        argv += ["--cache-ram", str(settings.prompt_cache)]  # the engine's own default is 8 GiB
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
    flags = parse_flags(launch.configuration.runtime_flags)
    return argv + spelled(flags, server.options, server.version)


def _presence(server: NativeServer, names: tuple[str, ...]) -> list[str]:
    """Return the first of several names for one switch that this version knows."""
    return next(([name] for name in names if name in server.options), [])


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


def _draft_flags(server: NativeServer, launch: Launch) -> list[str]:
    speculative = launch.configuration.speculative
    if speculative is None or launch.draft is None:
        return []
    flags = ["--model-draft", str(launch.draft.weights)]
    new = "--spec-draft-n-max" in server.options
    if "--spec-type" in server.options:  # without it the draft model is loaded and not used
        flags += ["--spec-type", "draft-simple"]
    if speculative.num_tokens:
        flags += ["--spec-draft-n-max" if new else "--draft-max", str(speculative.num_tokens)]
    if speculative.min_acceptance_rate:
        name = "--spec-draft-p-min" if new else "--draft-p-min"
        flags += [name, f"{speculative.min_acceptance_rate:.2f}"]
    return flags
