"""From an engine's last lines to one sentence that names the cause.

llama.cpp reports a failed load from the inside out: the first line has the cause, the last ones
only say that loading failed.  So the first match of the most telling pattern wins.  Paths are
shortened to their last part: what is said here reaches clients.
"""

from __future__ import annotations

import re

from runnerd.backends.interface import EngineFailure
from runnerd.backends.process import ExitRecord

_LAST_LINES = 20
_LONGEST_LINE = 300
_LONGEST_WORDS = 4096

_PREFIX = re.compile(r"^\d+\.\d+\.\d+\.\d+ [A-Z] +")  # time and level of llama.cpp's log
_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s'\"/:]+/)+([^\s'\"/:]*)")

_NO_MEMORY = "not enough memory"
_NO_GPU_MEMORY = "not enough GPU memory"
_OOM_KILLER = "probably the kernel's out-of-memory killer"
_CAUSES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"cudaMalloc failed|CUDA error: out of memory"), f"{_NO_GPU_MEMORY} (CUDA)"),
    (re.compile(r"ErrorOutOfDeviceMemory"), f"{_NO_GPU_MEMORY} (Vulkan)"),
    (re.compile(r"hipMalloc failed|hipErrorOutOfMemory"), f"{_NO_GPU_MEMORY} (ROCm)"),
    (
        re.compile(r"out of memory|std::bad_alloc|failed to allocate|cannot allocate memory", re.I),
        _NO_MEMORY,
    ),
    (re.compile(r"unknown model architecture"), ""),
    (re.compile(r"unknown pre-tokenizer type|invalid vocab|cannot find tokenizer", re.I), ""),
    (
        re.compile(r"missing tensor|tensor '[^']*' (not found|has wrong shape|data is not within)"),
        "",
    ),
    (re.compile(r"key not found in model|wrong type|wrong array length"), ""),
    (re.compile(r"GGML_ASSERT|GGML_ABORT|CUDA error"), ""),
    (re.compile(r"^error: |error while handling argument"), ""),
    (re.compile(r"error while loading shared libraries"), ""),
    (re.compile(r"gguf_init_\w+: (failed|invalid|bad|duplicate|tensor|unknown)|invalid magic"), ""),
    (re.compile(r"couldn't bind|[Aa]ddress already in use"), ""),
    (re.compile(r"error loading model: "), ""),
    (re.compile(r"^\w*(Error|Exception): "), ""),
    (re.compile(r"what\(\): "), ""),
    (re.compile(r"^runnerd: "), ""),
)
_MODEL = "the model"


def first_cause(tail: str) -> str | None:
    """Return the line of an engine's output that says why it failed, None when none does."""
    lines = [_PREFIX.sub("", line).strip() for line in tail.splitlines()]
    for pattern, meaning in _CAUSES:
        for line in lines:
            if pattern.search(line):
                line = without_paths(line)[:_LONGEST_LINE]
                line = line.removeprefix("what():").strip()
                return f"{meaning}: {line}" if meaning else line
    return None


def last_lines(tail: str) -> str:
    """Return the last lines of an engine's output, for people."""
    lines = [without_paths(line.rstrip())[:_LONGEST_LINE] for line in tail.splitlines()]
    return "\n".join([line for line in lines if line.strip()][-_LAST_LINES:])[-_LONGEST_WORDS:]


def without_paths(text: str) -> str:
    """Return `text` with every absolute path shortened to its last part."""
    return _PATH.sub(r"\1", text)


def engine_failure(record: ExitRecord, model_ref: str, *, weights: str) -> EngineFailure:
    """Return the failure that `run` raises for an engine that ended by itself.

    It does not say what the model is called, nor may the engine's words, where it is `model_ref`
    or its `weights`: who is told has asked for it by a name of their own, and may know no other.
    """
    tail = record.tail.replace(weights, _MODEL)
    tail = re.sub(rf"(?<!\w){re.escape(model_ref)}(?!\w)", _MODEL, tail)
    words = last_lines(tail)
    rest = f"{_MODEL} ({record.reason})"
    cause = first_cause(tail)
    if cause is not None:
        rest += f": {cause}"
    if words:
        rest += f"\n\nLast log lines:\n{words}"
    return EngineFailure(
        f"llama.cpp stopped serving {rest}",
        load_message=f"llama.cpp could not load {rest}",
        exit_reason=record.reason,
        last_words=words,
        out_of_memory=(cause or "").startswith((_NO_MEMORY, _NO_GPU_MEMORY))
        or _OOM_KILLER in record.reason,
    )
