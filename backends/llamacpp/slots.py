"""llama-server's own way to save and restore its slots (`POST /slots/N?action=save`).

It checks little: a file of another model is taken for what it says, and a file that ends too soon
aborts the engine.  So who uses this keeps each file under a fingerprint of everything that decides
its layout, and proves that it is whole.

It works where a slot is nothing but the keys and values of its tokens.  Models with a sliding
window or a recurrent state restore without an error and evaluate everything again (tried with
gemma3), or go on from a wrong state; so the architectures are listed for which it is known to
work.  With images the engine refuses, and a draft model's own cache would be missing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from runnerd.backends.configuration import BackendMode
from runnerd.backends.engine_http import ask
from runnerd.backends.llamacpp.command import Launch
from runnerd.backends.llamacpp.footprint import cache_bytes_per_token
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.model_files import ModelFiles
from runnerd.backends.slots import SlotMemory
from runnerd.errors import BackendFailure

SLOT_OPTION = "--slot-save-path"

_CACHE_FLAGS = ("--cache-ram", "-cram")
_USUAL_CACHE = 8192  # MiB, where a build has no such flag
_CELL_BYTES = 32  # of a token, beside its keys and values
_MIB = 2**20
_FEWEST_TOKENS = 32  # fewer are evaluated as quickly as they are read
_ARCHITECTURES = frozenset({
    "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "mistral3", "gemma", "granite",
    "granitemoe", "olmo2", "olmoe", "starcoder2", "stablelm", "falcon", "internlm2", "phi2",
    "smollm3", "glm4", "seed_oss", "hunyuan-dense", "gpt2", "gptneox",
})  # fmt: skip
# What does not change the layout of a slot: who and where, and how many others there are.
_OF_THE_ENGINE = frozenset({
    "--host", "--model", "--alias", "--threads", SLOT_OPTION, "--ctx-size", "--parallel",
})  # fmt: skip


class _Slot(msgspec.Struct):
    id: int
    n_prompt_tokens: int = 0  # absent in a slot that was never used
    is_processing: bool = False


class _Found(msgspec.Struct):
    id_slot: int
    tokens_evaluated: int


class _Saved(msgspec.Struct):
    n_saved: int


def works(launch: Launch) -> bool:
    """Return whether a slot of such an engine can be saved and is worth it."""
    return (
        launch.mode is BackendMode.COMPLETION
        and launch.files.facts.architecture in _ARCHITECTURES
        and not launch.files.facts.window_width
        and launch.files.mmproj is None
        and launch.draft is None
        and "--no-slots" not in launch.configuration.runtime_flags
        and not any(flag.startswith("--spec-type") for flag in launch.configuration.runtime_flags)
    )


def fingerprint(server: NativeServer, launch: Launch, model: str, argv: Sequence[str]) -> str:
    """What decides whether a file can be read: model, build, a slot's context, and every
    flag that is about a slot.
    """
    build = (str(server.path), server.version, str(server.path.stat().st_mtime_ns))
    said = dict(itertools.pairwise(argv))
    context = int(said["--ctx-size"]) // int(said["--parallel"])
    text = "\0".join((model, launch.mode, *build, str(context), *_of_a_slot(argv)))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _of_a_slot(argv: Sequence[str]) -> Iterator[str]:
    rest = iter(argv[1:])
    for token in rest:
        if token in _OF_THE_ENGINE:
            next(rest, None)
        else:
            yield token


async def save(socket: Path, files: ModelFiles, names: Sequence[str], room_bytes: int) -> list[str]:
    """Save the slots that are worth it, the fullest first; return the names of their files.

    Raises errors.BackendFailure.
    """
    saved: list[str] = []
    per_token = cache_bytes_per_token(files.facts)
    for slot in sorted(await _slots(socket), key=lambda slot: -slot.n_prompt_tokens):
        size = slot.n_prompt_tokens * per_token
        if slot.n_prompt_tokens < _FEWEST_TOKENS or slot.is_processing or size > room_bytes:
            continue
        if len(saved) == len(names):
            break
        await _act(socket, slot.id, "save", names[len(saved)])
        saved.append(names[len(saved)])
        room_bytes -= size
    return saved


async def restore(socket: Path, names: Sequence[str]) -> int:
    """Restore files into empty slots, as many as there are; return how many.

    Raises errors.BackendFailure.
    """
    empty = [
        slot for slot in await _slots(socket) if not (slot.n_prompt_tokens or slot.is_processing)
    ]
    for slot, name in zip(empty, names, strict=False):
        await _act(socket, slot.id, "restore", name)
    return min(len(empty), len(names))


def memory(files: ModelFiles, argv: Sequence[str]) -> SlotMemory:
    """How much an engine with these arguments keeps of conversations; the last word counts."""
    said = {flag: value for flag, value in itertools.pairwise(argv) if flag in _CACHE_FLAGS}
    room = int(next((said[flag] for flag in _CACHE_FLAGS if flag in said), _USUAL_CACHE))
    per_token = cache_bytes_per_token(files.facts) + _CELL_BYTES
    return SlotMemory(None if room < 0 else room * _MIB, per_token)


async def save_conversation(
    socket: Path,
    files: ModelFiles,
    said: tuple[bytes, str],
    name: str,
    room_bytes: int,
    *,
    forget: bool = False,
) -> bool:
    """Save what the engine has evaluated of a conversation; return whether it was worth it.

    A conversation that is in no slot is in the engine's memory, where it is looked for only for a
    request.  So it is asked for what it has, and for no token more.  If somebody else has got that
    slot before it was saved, the number of tokens tells.  Raises errors.BackendFailure.
    """
    text = await _evaluated_text(socket, *said)
    asked = {"prompt": text, "n_predict": 0, "cache_prompt": True}
    try:
        found = msgspec.json.decode(await _ask(socket, "/completion", asked), type=_Found)
    except msgspec.MsgspecError as error:
        raise BackendFailure(f"the engine's response is not understood: {error}") from error
    size = found.tokens_evaluated * cache_bytes_per_token(files.facts)
    if found.tokens_evaluated < _FEWEST_TOKENS or size > room_bytes:
        return False
    told = await _act(socket, found.id_slot, "save", name)
    try:
        saved = msgspec.json.decode(told, type=_Saved).n_saved
    except msgspec.MsgspecError as error:
        raise BackendFailure(f"the engine's response is not understood: {error}") from error
    if saved != found.tokens_evaluated:
        return False
    if forget:  # else it would go to the memory, and something else would be dropped there
        await _act(socket, found.id_slot, "erase")
    return True


async def _evaluated_text(socket: Path, request: bytes, response: str) -> str:
    """A conversation as the engine reads it: its last request and the response.

    Templates that do not take the beginning of a response get the request alone.
    """
    document = msgspec.json.decode(request, type=dict[str, Any])
    if "messages" not in document:
        return f"{document['prompt']}{response}"
    messages = document["messages"]
    whole = {**document, "messages": [*messages, {"role": "assistant", "content": response}]}
    try:
        told = await _ask(socket, "/apply-template", whole)
    except BackendFailure:
        told = await _ask(socket, "/apply-template", document)
    return str(msgspec.json.decode(told, type=dict[str, Any])["prompt"])


async def restore_conversation(socket: Path, name: str, restored: Sequence[int]) -> int | None:
    """Restore a file into a slot: an empty one, else one that is idle; None where none is.

    What lies in an idle one is moved to the engine's memory, which takes a request that is about
    something else.  Raises errors.BackendFailure.
    """
    idle = [slot for slot in await _slots(socket) if not slot.is_processing]
    if not idle:
        return None
    order = {id: place for place, id in enumerate(restored, 1)}
    chosen = min(idle, key=lambda slot: (order.get(slot.id, 0), slot.n_prompt_tokens))
    if chosen.n_prompt_tokens:
        asked = {"prompt": "x", "n_predict": 0, "id_slot": chosen.id}
        await _ask(socket, "/completion", asked)
    await _act(socket, chosen.id, "restore", name)
    return chosen.id


async def _slots(socket: Path) -> list[_Slot]:
    response = await _ask(socket, "/slots")
    try:
        return msgspec.json.decode(response, type=list[_Slot])
    except msgspec.DecodeError as error:
        raise BackendFailure(f"the engine's slots are not understood: {error}") from error


async def _act(socket: Path, slot: int, action: str, name: str = "") -> bytes:
    return await _ask(socket, f"/slots/{slot}?action={action}", {"filename": name})


async def _ask(socket: Path, path: str, document: object = None) -> bytes:
    try:
        status, response = await ask(socket, path, document)
    except OSError as error:
        raise BackendFailure(f"the engine's slots cannot be reached ({error})") from error
    if status != 200:
        words = response[:300].decode("utf-8", "replace")
        raise BackendFailure(f"the engine refused {path.partition('?')[2] or path}: {words}")
    return response
