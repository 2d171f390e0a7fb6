"""runnerd.backends.llamacpp.command: what the engine is started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.command import (
    Launch,
    cache_tokens,
    context_tokens,
    native_command,
    slot_counts,
)
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.model_files import ModelFacts, ModelFiles
from runnerd.errors import NotSupported

COVERS = ("runnerd.backends.llamacpp.native_server",)

OPTIONS = frozenset({"--no-ui", "--no-webui", "--offline", "--kv-unified", "--no-kv-unified",
                     "--kv-unified-per-slot", "--spec-type", "--spec-draft-n-max",
                     "--spec-draft-p-min"})  # fmt: skip
SLOTS = "--ctx-size 16384 --parallel 4 --kv-unified --kv-unified-per-slot 4096"
NEW = NativeServer(Path("/opt/llama-server"), "1", OPTIONS)
OLD = NativeServer(Path("/opt/llama-server"), "0", frozenset({"--no-webui"}))


def files(trained: int = 4096, **more: Any) -> ModelFiles:
    return ModelFiles(Path("/m/w.gguf"), 1, facts=ModelFacts(context_length=trained), **more)


def configuration(**fields: object) -> BackendConfiguration:
    return BackendConfiguration.model_validate(fields)


def command(
    server: NativeServer = NEW,
    mode: BackendMode = BackendMode.COMPLETION,
    ref: str = "ai/tiny",
    model: ModelFiles | None = None,
    draft: ModelFiles | None = None,
    settings: dict[str, object] | None = None,
    **fields: object,
) -> str:
    launch = Launch(
        Path("/r/a.e.sock"), ref, model or files(), draft, mode, configuration(**fields)
    )
    argv = native_command(server, launch, parse_settings(settings or {}))
    assert argv[:5] == ["/opt/llama-server", "--host", "/r/a.e.sock", "--model", "/m/w.gguf"]
    return " ".join(argv[5:])


def test_a_plain_start() -> None:
    """Nothing is pinned that llama.cpp can fit to the devices itself."""
    assert command() == f"--alias ai/tiny --no-ui --offline {SLOTS}"


def test_an_older_server() -> None:
    """Options that a version does not know are not given to it."""
    assert command(OLD) == "--alias ai/tiny --no-webui --ctx-size 16384 --parallel 4"


@pytest.mark.parametrize(
    ("trained", "configured", "tokens"),
    [
        (4096, None, 4096),
        (131072, None, 8192),
        (0, None, 8192),
        (131072, 16384, 16384),
        (4096, 16384, 16384),
        (131072, -1, 131072),
        (0, -1, 0),
        (131072, 0, 8192),
    ],
)
def test_context(trained: int, configured: int | None, tokens: int) -> None:
    """What is configured, else the trained maximum up to the default; -1 is the maximum itself."""
    fields = {} if configured is None else {"context-size": configured}
    assert context_tokens(files(trained), configuration(**fields), parse_settings({})) == tokens


def test_modes() -> None:
    """Encoders see a text whole, so one batch holds the context; others take it in pieces."""
    batches = "--batch-size 4096 --ubatch-size 4096"
    facts = ModelFacts(context_length=4096, pooling="cls", encodes=True)
    encoder = ModelFiles(Path("/m/w.gguf"), 1, facts=facts)
    made = command(mode=BackendMode.EMBEDDING, model=encoder)
    assert made.endswith(f"--embeddings {batches}")
    assert command(mode=BackendMode.RERANKING).endswith(f"--embeddings --reranking {batches}")
    assert command(mode=BackendMode.EMBEDDING).endswith("--batch-size 512 --ubatch-size 512")


def test_an_encoders_context_is_worth_its_memory() -> None:
    """By itself it is limited, since the buffers grow with it; an owner may have all of it."""
    facts = ModelFacts(
        context_length=8192, vocabulary_size=250002, embedding_length=1024, encodes=True
    )
    model = ModelFiles(Path("w"), 1, facts=facts)
    plain, wide = parse_settings({}), parse_settings({"encoder_memory": 10000})
    assert context_tokens(model, configuration(), plain) == 512
    assert context_tokens(model, configuration(), wide) == 8192
    assert context_tokens(model, configuration(**{"context-size": 8192}), plain) == 8192


@pytest.mark.parametrize(
    ("architecture", "pooling", "flag"),
    [("llama", "", "last"), ("llama", "none", "last"), ("bert", "", "mean"), ("bert", "cls", "")],
)
def test_vectors_of_models_that_do_not_say(architecture: str, pooling: str, flag: str) -> None:
    """A chat model tells what it makes of the last token, an encoder the mean of all."""
    facts = ModelFacts(architecture=architecture, pooling=pooling)
    made = command(mode=BackendMode.EMBEDDING, model=ModelFiles(Path("/m/w.gguf"), 1, facts=facts))
    assert (f"--pooling {flag} " in made) if flag else ("--pooling" not in made)


@pytest.mark.parametrize(
    ("settings", "said", "slots"),
    [
        ({}, {}, (4, 3, 2, 1)),
        ({"parallel": 20}, {}, (20, 10, 5, 2, 1)),
        ({"parallel": 20}, {"parallel": 3}, (3,)),
        ({}, {"runtime-flags": ["-np", "2", "-np", "7"]}, (7,)),
        ({}, {"parallel": 2, "runtime-flags": ["-np", "-1"]}, (2,)),
        ({"parallel": 2}, {"runtime-flags": ["-np", "-1"]}, (2, 1)),
    ],
)
def test_how_many_slots(
    settings: dict[str, object], said: dict[str, Any], slots: tuple[int, ...]
) -> None:
    """What is said of a model is a promise; else as many as there is memory for."""
    assert slot_counts(configuration(**said), parse_settings(settings)) == slots
    made = command(settings=settings, **said)
    assert f"--ctx-size {4096 * slots[0]} --parallel {slots[0]} " in made
    assert made.count("--parallel") == 1


def test_each_slot_has_the_whole_context() -> None:
    """In one cache or in its own, and whatever an owner's flags say of caches."""
    assert SLOTS in command()
    alone = SLOTS.replace("--kv-unified ", "--no-kv-unified ")
    turned = replace(files(), facts=ModelFacts(context_length=4096, long_rope=True))
    assert alone in command(model=turned)
    assert alone in command(runtime_flags=["-fa", "off"])
    made = command(runtime_flags=["-no-kvu"])
    assert made.endswith(f"{alone} --no-kv-unified")
    older = NativeServer(NEW.path, "1", OPTIONS - {"--kv-unified-per-slot"})
    assert command(older).endswith("--ctx-size 16384 --parallel 4 --no-kv-unified")


def test_a_context_that_nobody_knows_is_not_divided() -> None:
    """The engine's own maximum is for one slot."""
    made = command(model=files(0), context_size=-1)
    assert made.endswith("--ctx-size 0 --parallel 1")


def test_more_than_the_engine_can_count() -> None:
    """What its numbers hold is the limit."""
    assert cache_tokens(2**30, 4) == 2**31 - 1


def test_threads_as_configured() -> None:
    """The engine chooses its threads unless the owner has."""
    assert "--threads" not in command()
    assert command(settings={"threads": 3}).endswith("--threads 3")


def test_the_prompt_cache_is_bounded() -> None:
    """By a setting, where the engine has such a cache, and a flag of the model's owner wins."""
    server = NativeServer(NEW.path, "1", OPTIONS | {"--cache-ram"})
    assert "--cache-ram 1024" in command(server)
    assert "--cache-ram 7" in command(server, settings={"prompt_cache": 7})
    assert "--cache-ram" not in command(server, BackendMode.EMBEDDING)
    flags: dict[str, Any] = {"runtime-flags": ["-cram", "9"]}
    assert command(server, **flags).endswith("--cache-ram 9")


def test_checkpoints_are_bounded() -> None:
    """llama-server keeps 32 states of each slot, which for recurrent models are gigabytes."""
    server = NativeServer(NEW.path, "1", OPTIONS | {"--ctx-checkpoints"})
    large = ModelFiles(Path("/m/w.gguf"), 1, facts=ModelFacts(state_width=20 * 2**20))  # 80 MiB
    assert "--ctx-checkpoints 3" in command(server, model=large)
    assert "--ctx-checkpoints 12" in command(server, model=large, parallel=1)
    assert "--ctx-checkpoints 1" in command(server, model=large, settings={"prompt_cache": 0})
    assert "--ctx-checkpoints" not in command(model=large)
    small = ModelFiles(Path("/m/w.gguf"), 1, facts=ModelFacts(state_width=1000))
    assert "--ctx-checkpoints" not in command(server, model=small)
    assert "--ctx-checkpoints" not in command(server)


def test_files_of_the_bundle() -> None:
    """A projector and a template are given when the bundle has them."""
    model = files(mmproj=Path("/m/p.gguf"), chat_template=Path("/m/t.jinja"))
    assert command(model=model).endswith("--mmproj /m/p.gguf --chat-template-file /m/t.jinja")


def test_speculative_decoding() -> None:
    """The draft model's file comes from the resolver, the numbers from the configuration."""
    speculative = {"draft_model": "d", "num_tokens": 4, "min_acceptance_rate": 0.5}
    draft = ModelFiles(Path("/m/d.gguf"), 1)
    assert command(draft=draft, speculative=speculative).endswith(
        "--model-draft /m/d.gguf --spec-type draft-simple --spec-draft-n-max 4"
        " --spec-draft-p-min 0.50"
    )
    for kind in ("eagle3", "dflash", "dspark", "mtp"):
        drafts = ModelFiles(Path("/m/d.gguf"), 1, facts=ModelFacts(drafts_as=kind))
        told = command(draft=drafts, speculative={"draft_model": "d"})
        assert told.endswith(f"--model-draft /m/d.gguf --spec-type draft-{kind}")
    assert command(OLD, draft=draft, speculative=speculative).endswith(
        "--model-draft /m/d.gguf --draft-max 4 --draft-p-min 0.50"
    )


def test_runtime_flags_come_last() -> None:
    """So that an owner's flag wins over ours; the last one counts in llama.cpp."""
    assert command(runtime_flags=["-ngl", "0", "--temp=1"]).endswith(
        f"{SLOTS} --n-gpu-layers 0 --temp 1"
    )


@pytest.mark.parametrize("ref", ["-x", "a,b", ""])
def test_a_reference_that_is_no_alias(ref: str) -> None:
    """What would be an option, or two aliases, is not passed."""
    assert "--alias" not in command(ref=ref)


def test_isolated_users() -> None:
    """Nothing is reused, whatever the owner's flags say; a server that cannot do so is refused."""
    able = replace(NEW, options=OPTIONS | {"--no-cache-prompt", "--cache-prompt", "--cache-ram"})
    flags = ["--cache-prompt", "--cache-ram", "100"]
    argv = command(able, isolate_users=True, runtime_flags=flags)
    assert argv.endswith("--cache-prompt --cache-ram 100 --no-cache-prompt --cache-ram 0")
    assert "--no-cache-prompt" not in command(able)
    with pytest.raises(NotSupported, match="isolate_users"):
        command(isolate_users=True)
