"""The runtime flags that an owner may set for a model: a table of typed flags, and nothing else.

A raw command line would be a way in: `--log-file` overwrites files, `--rpc` opens ports, `--tools`
runs shells.  So a flag is looked up in a table, its value parsed as the type that the table says,
and what goes to the engine is written anew from the parsed value.  No type can hold a path, a URL
or an option.

Accepted are `--flag value` and `--flag=value`, under every name that llama.cpp has for the flag.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from runnerd.errors import InvalidConfiguration

_NUMBER_LIKE = re.compile(r"-[0-9.]")


class _Type(Protocol):
    @property
    def description(self) -> str: ...

    def parse(self, text: str) -> str | None:
        """Return the value as the engine gets it, None when `text` is not of this type."""
        ...


@dataclass(frozen=True, slots=True)
class _Integer:
    low: int
    high: int = 2**31 - 1

    @property
    def description(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> str | None:
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text):
            return None
        value = int(text)
        return str(value) if self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class _Number:
    low: float
    high: float

    @property
    def description(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def parse(self, text: str) -> str | None:
        if not re.fullmatch(
            r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})(e[+-]?[0-9]{1,2})?", text
        ):
            return None
        value = float(text)
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return None
        return format(value, ".10g")


@dataclass(frozen=True, slots=True)
class _Choice:
    """`bare` is the value of the flag when it stands alone."""

    choices: tuple[str, ...]
    bare: str | None = None

    @property
    def description(self) -> str:
        return "one of " + ", ".join(self.choices)

    def parse(self, text: str) -> str | None:
        return text if text in self.choices else None


@dataclass(frozen=True, slots=True)
class _List:
    """Up to `longest` items of one type between separators."""

    item: _Type
    longest: int
    separator: str = ","

    @property
    def description(self) -> str:
        return (
            f"up to {self.longest} values between {self.separator!r}, each {self.item.description}"
        )

    def parse(self, text: str) -> str | None:
        items = [self.item.parse(part) for part in text.split(self.separator)]
        if len(items) > self.longest or any(item is None for item in items):
            return None
        return self.separator.join(item for item in items if item is not None)


@dataclass(frozen=True, slots=True)
class _Pattern:
    pattern: str
    description: str

    def parse(self, text: str) -> str | None:
        return text if re.fullmatch(self.pattern, text) else None


@dataclass(frozen=True, slots=True)
class Flag:
    """An allowed flag: the name that the engine gets, other names, its type (None: a switch)."""

    name: str
    aliases: tuple[str, ...] = ()
    type: _Type | None = None


def _flag(names: str, type: _Type | None = None) -> Flag:
    name, *aliases = names.split()
    return Flag(name, tuple(aliases), type)


_ON_OFF_AUTO = _Choice(("on", "off", "auto"), bare="on")
_CACHE_TYPE = _Choice(("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"))
_DEVICES = _List(
    _Pattern(r"[A-Za-z][A-Za-z0-9_]{0,31}", "a device name such as CUDA0, or none"), 32
)
_LAYERS = _Pattern(r"auto|all|[0-9]{1,5}", "a number of layers, auto or all")
_THREADS = _Integer(-1, 1024)
_TOKENS = _Integer(-1)
_PROBABILITY = _Number(0, 1)
_SAMPLER = _Choice((
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature",
))  # fmt: skip
_TEMPLATES = _Choice((
    "bailing", "bailing-think", "bailing2", "chatglm3", "chatglm4", "chatml", "command-r",
    "deepseek", "deepseek-ocr", "deepseek2", "deepseek3", "exaone-moe", "exaone3", "exaone4",
    "falcon3", "gemma", "gigachat", "glmedge", "gpt-oss", "granite", "granite-4.0", "granite-4.1",
    "grok-2", "hunyuan-dense", "hunyuan-moe", "hunyuan-vl", "kimi-k2", "llama2", "llama2-sys",
    "llama2-sys-bos", "llama2-sys-strip", "llama3", "llama4", "megrez", "minicpm", "mistral-v1",
    "mistral-v3", "mistral-v3-tekken", "mistral-v7", "mistral-v7-tekken", "monarch", "openchat",
    "orion", "pangu-embedded", "phi3", "phi4", "rwkv-world", "seed_oss", "smolvlm", "solar-open",
    "vicuna", "vicuna-orca", "yandex", "zephyr",
))  # fmt: skip
_SPECULATION = _Choice((
    "none", "draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark",
    "ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache",
))  # fmt: skip

FLAGS = (
    # processor
    _flag("--threads -t", _THREADS),
    _flag("--threads-batch -tb", _THREADS),
    _flag("--threads-http", _Integer(1, 1024)),
    _flag("--cpu-strict", _Integer(0, 1)),
    _flag("--cpu-strict-batch", _Integer(0, 1)),
    _flag("--prio", _Integer(-1, 2)),
    _flag("--prio-batch", _Integer(0, 2)),
    _flag("--poll", _Integer(0, 100)),
    _flag("--poll-batch", _Integer(0, 1)),
    _flag("--numa", _Choice(("distribute", "isolate", "numactl"))),
    # batches, slots and the context
    _flag("--batch-size -b", _Integer(1, 2**20)),
    _flag("--ubatch-size -ub", _Integer(1, 2**20)),
    _flag("--parallel -np", _Integer(-1, 256)),
    _flag("--cont-batching -cb"),
    _flag("--no-cont-batching -nocb"),
    _flag("--context-shift"),
    _flag("--no-context-shift"),
    _flag("--keep", _TOKENS),
    _flag("--predict -n --n-predict", _Integer(-1)),
    _flag("--slot-prompt-similarity -sps", _PROBABILITY),
    _flag("--timeout -to", _Integer(1, 86400)),
    _flag("--sse-ping-interval", _Integer(-1, 3600)),
    _flag("--warmup"),
    _flag("--no-warmup"),
    # the KV and prompt caches
    _flag("--cache-type-k -ctk", _CACHE_TYPE),
    _flag("--cache-type-v -ctv", _CACHE_TYPE),
    _flag("--kv-unified -kvu"),
    _flag("--no-kv-unified -no-kvu"),
    _flag("--kv-unified-per-slot", _Integer(1)),
    _flag("--kv-offload -kvo"),
    _flag("--no-kv-offload -nkvo"),
    _flag("--swa-full"),
    _flag("--cache-ram -cram", _Integer(-1, 2**24)),
    _flag("--cache-reuse", _Integer(0)),
    _flag("--cache-prompt"),
    _flag("--no-cache-prompt"),
    _flag("--cache-idle-slots"),
    _flag("--no-cache-idle-slots"),
    _flag("--ctx-checkpoints -ctxcp --swa-checkpoints", _Integer(0, 1024)),
    _flag("--checkpoint-min-step -cms", _Integer(0)),
    # devices and memory
    _flag("--n-gpu-layers -ngl --gpu-layers", _LAYERS),
    _flag("--split-mode -sm", _Choice(("none", "layer", "row", "tensor"))),
    _flag("--tensor-split -ts", _List(_Number(0, 1e6), 32)),
    _flag("--main-gpu -mg", _Integer(0, 255)),
    _flag("--device -dev", _DEVICES),
    _flag("--flash-attn -fa", _ON_OFF_AUTO),
    _flag("--fit -fit", _Choice(("on", "off"), bare="on")),
    _flag("--fit-target -fitt", _List(_Integer(0, 2**24), 32)),
    _flag("--fit-ctx -fitc", _Integer(1)),
    _flag("--load-mode -lm", _Choice(("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"))),
    _flag("--lazy-mode -lzm", _Choice(("on", "off", "auto"))),
    _flag("--mlock"),
    _flag("--mmap"),
    _flag("--no-mmap"),
    _flag("--cpu-moe -cmoe"),
    _flag("--n-cpu-moe -ncmoe", _Integer(0, 10000)),
    _flag("--n-cpu-ffn -ncffn", _Integer(0, 10000)),
    _flag("--op-offload"),
    _flag("--no-op-offload"),
    _flag("--repack"),
    _flag("--no-repack -nr"),
    _flag("--no-host"),
    _flag("--check-tensors"),
    _flag("--mmproj-offload"),
    _flag("--no-mmproj-offload"),
    # position encoding
    _flag("--rope-scaling", _Choice(("none", "linear", "yarn"))),
    _flag("--rope-scale", _Number(0, 1e6)),
    _flag("--rope-freq-base", _Number(0, 1e12)),
    _flag("--rope-freq-scale", _Number(0, 1e6)),
    _flag("--yarn-orig-ctx", _Integer(0)),
    _flag("--yarn-ext-factor", _Number(-1, 1e6)),
    _flag("--yarn-attn-factor", _Number(-1, 1e6)),
    _flag("--yarn-beta-slow", _Number(-1, 1e6)),
    _flag("--yarn-beta-fast", _Number(-1, 1e6)),
    # sampling, where a request does not say
    _flag("--seed -s", _Integer(-1, 2**32 - 1)),
    _flag("--temp --temperature", _Number(0, 100)),
    _flag("--top-k", _Integer(0)),
    _flag("--top-p", _PROBABILITY),
    _flag("--min-p", _PROBABILITY),
    _flag("--typical-p --typical", _PROBABILITY),
    _flag("--top-n-sigma --top-nsigma", _Number(-1, 100)),
    _flag("--xtc-probability", _PROBABILITY),
    _flag("--xtc-threshold", _PROBABILITY),
    _flag("--repeat-last-n", _TOKENS),
    _flag("--repeat-penalty", _Number(0, 100)),
    _flag("--presence-penalty", _Number(-100, 100)),
    _flag("--frequency-penalty", _Number(-100, 100)),
    _flag("--dry-multiplier", _Number(0, 100)),
    _flag("--dry-base", _Number(0, 100)),
    _flag("--dry-allowed-length", _Integer(0)),
    _flag("--dry-penalty-last-n", _TOKENS),
    _flag("--dynatemp-range", _Number(0, 100)),
    _flag("--dynatemp-exp", _Number(0, 100)),
    _flag("--adaptive-target", _Number(-1, 1)),
    _flag("--adaptive-decay", _Number(0, 0.99)),
    _flag("--mirostat", _Integer(0, 2)),
    _flag("--mirostat-lr", _Number(0, 100)),
    _flag("--mirostat-ent", _Number(0, 100)),
    _flag("--samplers", _List(_SAMPLER, 16, separator=";")),
    _flag("--sampler-seq --sampling-seq", _Pattern(r"[a-z]{1,16}", "letters such as edskypmxt")),
    _flag("--ignore-eos"),
    _flag("--logit-bias -l", _Pattern(
        r"[0-9]{1,9}[+-][0-9]{1,6}(\.[0-9]{1,6})?", "TOKEN_ID+BIAS or TOKEN_ID-BIAS")),
    # chats and reasoning
    _flag("--jinja"),
    _flag("--no-jinja"),
    _flag("--chat-template", _TEMPLATES),
    _flag("--reasoning-format", _Choice(("none", "auto", "deepseek", "deepseek-legacy"))),
    _flag("--reasoning -rea", _ON_OFF_AUTO),
    _flag("--reasoning-effort", _Choice((
        "default", "minimal", "low", "medium", "high", "xhigh", "max"))),
    _flag("--reasoning-budget", _TOKENS),
    _flag("--reasoning-preserve"),
    _flag("--no-reasoning-preserve"),
    _flag("--skip-chat-parsing"),
    _flag("--no-skip-chat-parsing"),
    _flag("--prefill-assistant"),
    _flag("--no-prefill-assistant"),
    _flag("--special -sp"),
    _flag("--spm-infill"),
    # embeddings and images
    _flag("--pooling", _Choice(("none", "mean", "cls", "last", "rank"))),
    _flag("--embd-normalize", _Integer(-1, 100)),
    _flag("--image-min-tokens", _Integer(1, 2**20)),
    _flag("--image-max-tokens", _Integer(1, 2**20)),
    # speculative decoding; the draft model itself is `speculative.draft_model`
    _flag("--spec-type", _List(_SPECULATION, 8)),
    _flag("--spec-draft-n-max", _Integer(0, 64)),
    _flag("--spec-draft-n-min", _Integer(0, 64)),
    _flag("--spec-draft-p-min --draft-p-min", _PROBABILITY),
    _flag("--spec-draft-p-split --draft-p-split", _PROBABILITY),
    _flag("--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft", _LAYERS),
    _flag("--spec-draft-device -devd --device-draft", _DEVICES),
    _flag("--spec-draft-threads -td --threads-draft", _THREADS),
    _flag("--spec-draft-threads-batch -tbd --threads-batch-draft", _THREADS),
    _flag("--spec-draft-type-k -ctkd --cache-type-k-draft", _CACHE_TYPE),
    _flag("--spec-draft-type-v -ctvd --cache-type-v-draft", _CACHE_TYPE),
    _flag("--spec-ngram-mod-n-min", _Integer(1, 1024)),
    _flag("--spec-ngram-mod-n-max", _Integer(1, 1024)),
    _flag("--spec-ngram-mod-n-match", _Integer(1, 1024)),
    _flag("--spec-ngram-simple-size-n", _Integer(1, 1024)),
    _flag("--spec-ngram-simple-size-m", _Integer(1, 1024)),
    _flag("--spec-ngram-simple-min-hits", _Integer(1, 1024)),
)  # fmt: skip

_BY_NAME = {name: flag for flag in FLAGS for name in (flag.name, *flag.aliases)}

# Why the flags that people ask for are not in the table; for the rest a general word serves.
_REASONS = {
    "--model": "the model is the one that is configured",
    "-m": "the model is the one that is configured",
    "--model-draft": "use speculative.draft_model",
    "-md": "use speculative.draft_model",
    "--ctx-size": "use context-size",
    "-c": "use context-size",
    "--host": "runnerd chooses the socket",
    "--port": "runnerd chooses the socket",
    "--alias": "runnerd sets the name",
    "--embeddings": "the mode says it",
    "--embedding": "the mode says it",
    "--reranking": "the mode says it",
    "--rerank": "the mode says it",
    "--mmproj": "it belongs to the model: import them together",
    "--chat-template-file": "it names a file; --chat-template takes llama.cpp's built-in names",
    "--verbose": "it would write prompts to the log",
    "-v": "it would write prompts to the log",
    "--api-key": "runnerd's own access rules apply",
}
_GENERAL_REASON = (
    "flags that name files or addresses, or change what the server exposes, are not allowed"
)


def parse_flags(flags: Sequence[str]) -> list[str]:
    """Return `flags` as canonical argv tokens.

    Raises errors.InvalidConfiguration, whose message names the flag, the reason and the remedy.
    """
    tokens: list[str] = []
    for flag, value in _pairs(flags):
        tokens.append(flag.name)
        if value is not None:
            tokens.append(value)
    return tokens


def _pairs(flags: Sequence[str]) -> Iterator[tuple[Flag, str | None]]:
    rest = list(reversed(flags))
    while rest:
        name, equals, inline = rest.pop().partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            _refuse(name)
        value = inline if equals else None
        if value is None and flag.type is not None and rest and _is_value(rest[-1]):
            value = rest.pop()
        yield flag, _checked(flag, name, value)


def _is_value(text: str) -> bool:
    return not text.startswith("-") or _NUMBER_LIKE.match(text) is not None


def _checked(flag: Flag, name: str, value: str | None) -> str | None:
    """Return the value in the engine's spelling."""
    if flag.type is None:
        if value is not None:
            raise InvalidConfiguration(f"runtime flag {name} takes no value", param="runtime-flags")
        return None
    if value is None:
        if isinstance(flag.type, _Choice) and flag.type.bare is not None:
            return flag.type.bare
        raise InvalidConfiguration(
            f"runtime flag {name} needs a value: {flag.type.description}", param="runtime-flags"
        )
    parsed = flag.type.parse(value)
    if parsed is None:
        raise InvalidConfiguration(
            f"runtime flag {name}: {value[:80]!r} is not {flag.type.description}",
            param="runtime-flags",
        )
    return parsed


def _refuse(name: str) -> NoReturn:
    if not name.startswith("-"):
        raise InvalidConfiguration(
            f"runtime flags: {name[:80]!r} is no flag, and no flag before it takes a value",
            param="runtime-flags",
        )
    message = f"runtime flag {name[:80]!r} is not allowed: {_REASONS.get(name, _GENERAL_REASON)}"
    if near := difflib.get_close_matches(name, list(_BY_NAME), n=1, cutoff=0.6):
        message += f"; did you mean {near[0]}?"
    raise InvalidConfiguration(message, param="runtime-flags")
