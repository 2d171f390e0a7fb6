"""The flags of llama-server that an owner may set for a model, each with the type of its value.

In the table is what can neither read or write files, open the network, run code nor change what
the server exposes; `flag_refusals` has the others, each with its reason.  A test walks the engine's
`--help`: what a newer llama.cpp adds is in neither until somebody has looked at it.
"""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.backends.llamacpp.flag_types import (
    Choice,
    Integer,
    JsonObject,
    List,
    Number,
    Pattern,
    TensorPlaces,
    Text,
    Type,
)


@dataclass(frozen=True, slots=True)
class Flag:
    """An allowed flag: the name that the engine gets, other names, its type (None: a switch)."""

    name: str
    aliases: tuple[str, ...] = ()
    type: Type | None = None


def _flag(names: str, type: Type | None = None) -> Flag:
    name, *aliases = names.split()
    return Flag(name, tuple(aliases), type)


_ON_OFF_AUTO = Choice(("on", "off", "auto"), bare="on")
_CACHE_TYPE = Choice(("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"))
_DEVICE = Pattern(r"[A-Za-z][A-Za-z0-9_]{0,31}", "a device name such as CUDA0, or none")
_DEVICES = List(_DEVICE, 32)
_OVERRIDE = Pattern(
    r"[a-z0-9][a-z0-9_.-]{0,126}="
    r"(int:-?[0-9]{1,18}|float:-?[0-9]{1,12}(\.[0-9]{1,12})?(e-?[0-9]{1,2})?"
    r"|bool:(true|false)|str:[A-Za-z0-9_.:+ -]{1,127})",
    "KEY=TYPE:VALUE of the model's metadata, TYPE one of int, float, bool, str",
)
_LAYERS = Pattern(r"auto|all|[0-9]{1,5}", "a number of layers, auto or all")
_THREADS = Integer(-1, 1024)
_CPU_MASK = Pattern(r"(0x)?[0-9a-fA-F]{1,256}", "a mask of processors in hexadecimal")
_CPU_RANGE = Pattern(r"[0-9]{0,4}-[0-9]{0,4}", "processors such as 0-7")
_STRICT = Integer(0, 1)
_PRIORITY = Integer(-1, 2)
_POLL = Integer(0, 100)
_NGRAM = Integer(1, 1024)
_TOKENS = Integer(-1)
_PROBABILITY = Number(0, 1)
_SAMPLER = Choice((
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature",
))  # fmt: skip
_TEMPLATES = Choice((
    "bailing", "bailing-think", "bailing2", "chatglm3", "chatglm4", "chatml", "command-r",
    "deepseek", "deepseek-ocr", "deepseek2", "deepseek3", "exaone-moe", "exaone3", "exaone4",
    "falcon3", "gemma", "gigachat", "glmedge", "gpt-oss", "granite", "granite-4.0", "granite-4.1",
    "grok-2", "hunyuan-dense", "hunyuan-moe", "hunyuan-vl", "kimi-k2", "llama2", "llama2-sys",
    "llama2-sys-bos", "llama2-sys-strip", "llama3", "llama4", "megrez", "minicpm", "mistral-v1",
    "mistral-v3", "mistral-v3-tekken", "mistral-v7", "mistral-v7-tekken", "monarch", "openchat",
    "orion", "pangu-embedded", "phi3", "phi4", "rwkv-world", "seed_oss", "smolvlm", "solar-open",
    "vicuna", "vicuna-orca", "yandex", "zephyr",
))  # fmt: skip
_SPECULATION = Choice((
    "none", "draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark",
    "ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache",
))  # fmt: skip

FLAGS = (
    # processor
    _flag("--threads -t", _THREADS),
    _flag("--threads-batch -tb", _THREADS),
    _flag("--threads-http", Integer(1, 1024)),
    _flag("--cpu-mask -C", _CPU_MASK),
    _flag("--cpu-mask-batch -Cb", _CPU_MASK),
    _flag("--cpu-range -Cr", _CPU_RANGE),
    _flag("--cpu-range-batch -Crb", _CPU_RANGE),
    _flag("--cpu-strict", _STRICT),
    _flag("--cpu-strict-batch", _STRICT),
    _flag("--prio", _PRIORITY),
    _flag("--prio-batch", Integer(0, 2)),
    _flag("--poll", _POLL),
    _flag("--poll-batch", Integer(0, 1)),
    _flag("--numa", Choice(("distribute", "isolate", "numactl"))),
    # batches, slots and the context
    _flag("--batch-size -b", Integer(1, 2**20)),
    _flag("--ubatch-size -ub", Integer(1, 2**20)),
    _flag("--parallel -np", Integer(-1, 256)),
    _flag("--cont-batching -cb"),
    _flag("--no-cont-batching -nocb"),
    _flag("--context-shift"),
    _flag("--no-context-shift"),
    _flag("--keep", _TOKENS),
    _flag("--predict -n --n-predict", Integer(-1)),
    _flag("--slot-prompt-similarity -sps", _PROBABILITY),
    _flag("--timeout -to", Integer(1, 86400)),
    _flag("--sse-ping-interval", Integer(-1, 3600)),
    _flag("--slots"),
    _flag("--no-slots"),
    _flag("--perf"),
    _flag("--no-perf"),
    _flag("--log-prefix"),
    _flag("--no-log-prefix"),
    _flag("--log-timestamps"),
    _flag("--no-log-timestamps"),
    _flag("--log-verbosity -lv --verbosity", Integer(1, 3)),
    _flag("--offline"),
    _flag("--no-ui --no-webui"),
    _flag("--no-ui-mcp-proxy --no-webui-mcp-proxy"),
    _flag("--no-agent -no-ag"),
    _flag("--no-cors-credentials"),
    _flag("--warmup"),
    _flag("--no-warmup"),
    # the KV and prompt caches
    _flag("--cache-type-k -ctk", _CACHE_TYPE),
    _flag("--cache-type-v -ctv", _CACHE_TYPE),
    _flag("--kv-unified -kvu"),
    _flag("--no-kv-unified -no-kvu"),
    _flag("--kv-offload -kvo"),
    _flag("--no-kv-offload -nkvo"),
    _flag("--swa-full"),
    _flag("--cache-ram -cram", Integer(-1, 2**24)),
    _flag("--cache-reuse", Integer(0)),
    _flag("--cache-prompt"),
    _flag("--no-cache-prompt"),
    _flag("--cache-idle-slots"),
    _flag("--no-cache-idle-slots"),
    _flag("--defrag-thold -dt", Number(-1, 1)),
    _flag("--ctx-checkpoints -ctxcp --swa-checkpoints", Integer(0, 1024)),
    _flag("--checkpoint-min-step -cms", Integer(0)),
    # devices and memory
    _flag("--n-gpu-layers -ngl --gpu-layers", _LAYERS),
    _flag("--split-mode -sm", Choice(("none", "layer", "row", "tensor"))),
    _flag("--tensor-split -ts", List(Number(0, 1e6), 32)),
    _flag("--main-gpu -mg", Integer(0, 255)),
    _flag("--device -dev", _DEVICES),
    _flag("--flash-attn -fa", _ON_OFF_AUTO),
    _flag("--fit -fit", Choice(("on", "off"), bare="on")),
    _flag("--fit-target -fitt", List(Integer(0, 2**24), 32)),
    _flag("--fit-ctx -fitc", Integer(1)),
    _flag("--load-mode -lm", Choice(("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"))),
    _flag("--lazy-mode -lzm", Choice(("on", "off", "auto"))),
    _flag("--mlock"),
    _flag("--mmap"),
    _flag("--no-mmap"),
    _flag("--direct-io -dio"),
    _flag("--no-direct-io -ndio"),
    _flag("--override-tensor -ot", TensorPlaces()),
    _flag("--override-kv", List(_OVERRIDE, 32)),
    _flag("--cpu-moe -cmoe"),
    _flag("--n-cpu-moe -ncmoe", Integer(0, 10000)),
    _flag("--n-cpu-ffn -ncffn", Integer(0, 10000)),
    _flag("--op-offload"),
    _flag("--no-op-offload"),
    _flag("--repack"),
    _flag("--no-repack -nr"),
    _flag("--no-host"),
    _flag("--check-tensors"),
    _flag("--mmproj-offload"),
    _flag("--no-mmproj-offload"),
    _flag("--mmproj-device -mmdev", _DEVICE),
    _flag("--mmproj-auto"),
    _flag("--no-mmproj-auto --no-mmproj"),
    _flag("--lora-init-without-apply"),
    # position encoding
    _flag("--rope-scaling", Choice(("none", "linear", "yarn"))),
    _flag("--rope-scale", Number(0, 1e6)),
    _flag("--rope-freq-base", Number(0, 1e12)),
    _flag("--rope-freq-scale", Number(0, 1e6)),
    _flag("--yarn-orig-ctx", Integer(0)),
    _flag("--yarn-ext-factor", Number(-1, 1e6)),
    _flag("--yarn-attn-factor", Number(-1, 1e6)),
    _flag("--yarn-beta-slow", Number(-1, 1e6)),
    _flag("--yarn-beta-fast", Number(-1, 1e6)),
    # sampling, where a request does not say
    _flag("--seed -s", Integer(-1, 2**32 - 1)),
    _flag("--temp --temperature", Number(0, 100)),
    _flag("--top-k", Integer(0)),
    _flag("--top-p", _PROBABILITY),
    _flag("--min-p", _PROBABILITY),
    _flag("--typical-p --typical", _PROBABILITY),
    _flag("--top-n-sigma --top-nsigma", Number(-1, 100)),
    _flag("--xtc-probability", _PROBABILITY),
    _flag("--xtc-threshold", _PROBABILITY),
    _flag("--repeat-last-n", _TOKENS),
    _flag("--repeat-penalty", Number(0, 100)),
    _flag("--presence-penalty", Number(-100, 100)),
    _flag("--frequency-penalty", Number(-100, 100)),
    _flag("--dry-multiplier", Number(0, 100)),
    _flag("--dry-base", Number(0, 100)),
    _flag("--dry-allowed-length", Integer(0)),
    _flag("--dry-penalty-last-n", _TOKENS),
    _flag("--dry-sequence-breaker", Text(64)),
    _flag("--dynatemp-range", Number(0, 100)),
    _flag("--dynatemp-exp", Number(0, 100)),
    _flag("--adaptive-target", Number(-1, 1)),
    _flag("--adaptive-decay", Number(0, 0.99)),
    _flag("--mirostat", Integer(0, 2)),
    _flag("--mirostat-lr", Number(0, 100)),
    _flag("--mirostat-ent", Number(0, 100)),
    _flag("--samplers", List(_SAMPLER, 16, separator=";")),
    _flag("--sampler-seq --sampling-seq", Pattern(r"[a-z]{1,16}", "letters such as edskypmxt")),
    _flag("--backend-sampling -bs"),
    _flag("--ignore-eos"),
    _flag("--reverse-prompt -r", Text(256)),
    _flag("--escape -e"),
    _flag("--no-escape"),
    _flag("--grammar", Text(16 * 2**10, lines=True)),
    _flag("--json-schema -j", JsonObject(64 * 2**10)),
    _flag("--logit-bias -l", Pattern(
        r"[0-9]{1,9}[+-][0-9]{1,6}(\.[0-9]{1,6})?", "TOKEN_ID+BIAS or TOKEN_ID-BIAS")),
    # chats and reasoning
    _flag("--jinja"),
    _flag("--no-jinja"),
    _flag("--chat-template", _TEMPLATES),
    _flag("--reasoning-format", Choice(("none", "auto", "deepseek", "deepseek-legacy"))),
    _flag("--reasoning -rea", _ON_OFF_AUTO),
    _flag("--reasoning-effort", Choice((
        "default", "minimal", "low", "medium", "high", "xhigh", "max"))),
    _flag("--reasoning-budget", _TOKENS),
    _flag("--reasoning-budget-message", Text(1024)),
    _flag("--chat-template-kwargs", JsonObject(4 * 2**10)),
    _flag("--reasoning-preserve"),
    _flag("--no-reasoning-preserve"),
    _flag("--skip-chat-parsing"),
    _flag("--no-skip-chat-parsing"),
    _flag("--prefill-assistant"),
    _flag("--no-prefill-assistant"),
    _flag("--special -sp"),
    _flag("--spm-infill"),
    # embeddings and images
    _flag("--pooling", Choice(("none", "mean", "cls", "last", "rank"))),
    _flag("--embd-normalize", Integer(-1, 100)),
    _flag("--image-min-tokens", Integer(1, 2**20)),
    _flag("--image-max-tokens", Integer(1, 2**20)),
    _flag("--mtmd-batch-max-tokens", Integer(1, 2**16)),
    _flag("--video-fps", Number(0, 1000)),
    _flag("--video-timestamp-interval", Number(0, 86400)),
    # speculative decoding; the draft model itself is `speculative.draft_model`
    _flag("--spec-type", List(_SPECULATION, 8)),
    _flag("--spec-default"),
    _flag("--spec-draft-n-max --draft-max --draft --draft-n", Integer(0, 64)),
    _flag("--spec-draft-n-min --draft-min --draft-n-min", Integer(0, 64)),
    _flag("--spec-draft-p-min --draft-p-min", _PROBABILITY),
    _flag("--spec-draft-p-split --draft-p-split", _PROBABILITY),
    _flag("--spec-draft-backend-sampling"),
    _flag("--no-spec-draft-backend-sampling"),
    _flag("--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft", _LAYERS),
    _flag("--spec-draft-device -devd --device-draft", _DEVICES),
    _flag("--spec-draft-override-tensor -otd --override-tensor-draft", TensorPlaces()),
    _flag("--spec-draft-cpu-moe -cmoed --cpu-moe-draft"),
    _flag("--spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed --n-cpu-moe-draft", Integer(0, 10000)),
    _flag("--spec-draft-threads -td --threads-draft", _THREADS),
    _flag("--spec-draft-threads-batch -tbd --threads-batch-draft", _THREADS),
    _flag("--spec-draft-cpu-mask -Cd --cpu-mask-draft", _CPU_MASK),
    _flag("--spec-draft-cpu-range -Crd --cpu-range-draft", _CPU_RANGE),
    _flag("--spec-draft-cpu-strict --cpu-strict-draft", _STRICT),
    _flag("--spec-draft-prio --prio-draft", _PRIORITY),
    _flag("--spec-draft-poll --poll-draft", _POLL),
    _flag("--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft", _CPU_MASK),
    _flag("--spec-draft-cpu-strict-batch --cpu-strict-batch-draft", _STRICT),
    _flag("--spec-draft-prio-batch --prio-batch-draft", _PRIORITY),
    _flag("--spec-draft-poll-batch --poll-batch-draft", _POLL),
    _flag("--spec-draft-type-k -ctkd --cache-type-k-draft", _CACHE_TYPE),
    _flag("--spec-draft-type-v -ctvd --cache-type-v-draft", _CACHE_TYPE),
    _flag("--spec-ngram-mod-n-min", _NGRAM),
    _flag("--spec-ngram-mod-n-max", _NGRAM),
    _flag("--spec-ngram-mod-n-match", _NGRAM),
    _flag("--spec-ngram-simple-size-n", _NGRAM),
    _flag("--spec-ngram-simple-size-m", _NGRAM),
    _flag("--spec-ngram-simple-min-hits", _NGRAM),
    _flag("--spec-ngram-map-k-size-n", _NGRAM),
    _flag("--spec-ngram-map-k-size-m", _NGRAM),
    _flag("--spec-ngram-map-k-min-hits", _NGRAM),
    _flag("--spec-ngram-map-k4v-size-n", _NGRAM),
    _flag("--spec-ngram-map-k4v-size-m", _NGRAM),
    _flag("--spec-ngram-map-k4v-min-hits", _NGRAM),
)  # fmt: skip
