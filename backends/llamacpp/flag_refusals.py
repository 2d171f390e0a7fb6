"""Why the other flags of llama-server are refused, each in its own sentence: what does this here.

A flag that is in none of the two tables is one that nobody has looked at yet, and is told so.
"""

from __future__ import annotations

from collections.abc import Mapping

_PULL = "models are pulled by runnerd: `runnerd pull`"
_PRINTS = "it makes the engine print something and end"
_ACCESS = "who may ask is decided by runnerd's own access rules"
_CORS = "web pages talk to runnerd, which has the setting `allowed_origins`"
_ROUTER = "an engine serves one model here; runnerd loads and unloads models itself"
_LOGS = "runnerd reads the engine's log and keeps it: `runnerd logs`"
_PROMPTS = "it would write prompts to the log"
_UI = "the engine's web page is not reachable"
_TOOLS = "it would let the engine run programs or reach other hosts"
_LORA = "adapters belong to a model: make one with them (`adapters` of POST /api/create)"
_CONTROL = "it names a file, and control vectors are no part of a model here"
_MMPROJ = "a projector belongs to its model: import them together"
_DRAFT = "use speculative.draft_model"
_SCHEMA = "it names a file; --json-schema takes the schema itself"
_INVENTS = "it makes up responses, for benchmarks of the engine"
_NGRAMS = "llama.cpp has split it up: use --spec-ngram-simple-{0}, --spec-ngram-map-k-{0} or {1}"

_BY_REASON: Mapping[str, str] = {
    "the model is the one that is configured": "--model -m",
    _PULL: """--model-url -mu --docker-repo -dr --hf-repo -hf -hfr --hf-file -hff --hf-repo-v -hfv
        --hf-file-v -hffv --embd-gemma-default --fim-qwen-1.5b-default --fim-qwen-3b-default
        --fim-qwen-7b-default --fim-qwen-7b-spec --fim-qwen-14b-spec --fim-qwen-30b-default
        --gpt-oss-20b-default --gpt-oss-120b-default --vision-gemma-4b-default
        --vision-gemma-12b-default""",
    "runnerd's own token is the setting `hub_token`": "--hf-token -hft",
    "a draft model is pulled first, and then named: speculative.draft_model": """--spec-draft-hf
        -hfd -hfrd --hf-repo-draft""",
    _DRAFT: "--spec-draft-model -md --model-draft",
    "use context-size (`runnerd configure --context-size N`)": "--ctx-size -c",
    "each slot has the whole context-size for itself": "--kv-unified-per-slot",
    "runnerd chooses the socket": "--host --port --reuse-port",
    "runnerd sets the name (`runnerd tag` gives a model another one)": "--alias -a --tags",
    "the mode says it (`runnerd configure --mode`)": """--embeddings --embedding --reranking
        --rerank""",
    _MMPROJ: "--mmproj -mm",
    "it fetches a projector from an address; " + _MMPROJ: "--mmproj-url -mmu",
    "it names a file; --chat-template takes llama.cpp's built-in names": "--chat-template-file",
    "it names a file; --grammar takes the grammar itself": "--grammar-file",
    _SCHEMA: "--json-schema-file -jf",
    "it names files; n-gram speculation without one is --spec-type ngram-mod": """
        --lookup-cache-static -lcs --lookup-cache-dynamic -lcd""",
    _LORA: "--lora --lora-scaled",
    _CONTROL: "--control-vector --control-vector-scaled --control-vector-layer-range",
    "text comes with each request; preload and preload_prefix are evaluated at the start": """
        --prompt -p --system-prompt -sys""",
    "it names a file; preload and preload_prefix are evaluated at the start": """--file -f
        --binary-file -bf --system-prompt-file -sysf""",
    "it would write each prompt to a file": "--log-prompts-dir",
    _PROMPTS: "--verbose -v --log-verbose --verbose-prompt",
    _LOGS: "--log-file --log-disable",
    "runnerd reads the engine's log as text, without colours": """--log-jsonl --no-log-jsonl
        --log-colors""",
    _ACCESS: "--api-key --api-key-file",
    "the engine has no TCP port; runnerd is the one to put TLS in front of": """--ssl-key-file
        --ssl-cert-file""",
    _CORS: "--cors-origins --cors-methods --cors-headers --cors-credentials",
    _UI: """--ui --webui --ui-config --webui-config --ui-config-file --webui-config-file
        --path""",
    _TOOLS: """--ui-mcp-proxy --webui-mcp-proxy --tools --tools-runtime --mcp-servers-config
        --mcp-servers-json --agent -ag""",
    "it names a folder whose programs would be run": "--video-ffmpeg-dir",
    "it would let requests name files of this host": "--media-path",
    "it would change the paths that runnerd asks": "--api-prefix",
    "it is always on; the daemon's own /metrics has what the engine tells": "--metrics",
    "it would let requests change the engine for everybody": "--props",
    "runnerd keeps slots itself: the setting `slot_quota`": "--slot-save-path",
    _ROUTER: """--models-dir --models-preset --models-max --models-autoload
        --no-models-autoload""",
    "use keep_alive: an unused model is unloaded whole": "--sleep-idle-seconds",
    "it reaches other hosts, and engines have no network": "--rpc",
    _PRINTS + "; `runnerd doctor` tells what there is": """--list-devices --version --cache-list
        -cl""",
    _PRINTS: "--help -h --usage --completion-bash",
    _INVENTS: "--spec-synth-len --spec-synth-rates",
    _NGRAMS.format("size-n", "--spec-ngram-mod-n-match"): "--spec-ngram-size-n",
    _NGRAMS.format("size-m", "--spec-ngram-map-k4v-size-m"): "--spec-ngram-size-m",
    _NGRAMS.format("min-hits", "--spec-ngram-map-k4v-min-hits"): "--spec-ngram-min-hits",
}

REASONS: Mapping[str, str] = {
    name: reason for reason, names in _BY_REASON.items() for name in names.split()
}
"""By every name of a refused flag."""

UNKNOWN = "runnerd does not know it, so whether it is harmless has not been looked at"
