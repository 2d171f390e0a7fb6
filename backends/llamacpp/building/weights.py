"""What the units of llama.cpp take to compile: seconds of one core (AMD EPYC 9004, GCC 12).

Those that take longer than the usual one, of llama-cpp-python 0.3.36; a version that has other
units is estimated less well.
"""

from __future__ import annotations

USUAL = 1.4

WEIGHTS: dict[str, float] = {
    "clip.cpp": 23.8, "httplib.cpp": 20.8, "arg.cpp": 18.9, "server-context.cpp": 15.5,
    "mtmd-helper.cpp": 14.4, "server-models.cpp": 14.3, "server-tools.cpp": 13.1,
    "llama-model.cpp": 11.3, "llama-bench.cpp": 11.2, "peg-parser.cpp": 11, "server-task.cpp":
    10.7, "ops.cpp": 10.1, "server.cpp": 8.6, "llama-model-loader.cpp": 8.4,
    "server-common.cpp": 8, "json-schema-to-grammar.cpp": 7.9, "download.cpp": 7.7,
    "server-http.cpp": 7.7, "preset.cpp": 7.6, "value.cpp": 7.3, "llama-sampler.cpp": 7.2,
    "chat-diff-analyzer.cpp": 7.1, "json.cpp": 6.9, "llama-quant.cpp": 6.9, "chat.cpp": 6.8,
    "common.cpp": 6.8, "speculative.cpp": 6.5, "llama-kv-cache.cpp": 6.3, "llama-vocab.cpp":
    6.3, "llama-grammar.cpp": 6.2, "server-schema.cpp": 5.9, "ggml-quants.c": 5.7,
    "server-queue.cpp": 5.5, "repack.cpp": 5.4, "runtime.cpp": 5.4, "llama-context.cpp": 5.3,
    "server-chat.cpp": 5.2, "chat-peg-parser.cpp": 5.1, "llama-kv-cache-dsv4.cpp": 5.1,
    "server-mcp.cpp": 4.9, "llama-graph.cpp": 4.7, "mtmd.cpp": 4.7, "server-stream.cpp": 4.7,
    "unity_1_cxx.cxx": 4.7, "sgemm.cpp": 4.6, "unity_8_cxx.cxx": 4.5, "ggml-backend-meta.cpp":
    4.4, "unity_3_cxx.cxx": 4.4, "tiled.cpp": 4.3, "unicode.cpp": 4.3, "deepseek.cpp": 4.2,
    "parser.cpp": 4.2, "debug.cpp": 3.9, "chat-auto-parser-generator.cpp": 3.8, "gemma4.cpp":
    3.8, "gguf.cpp": 3.8, "gpt-oss.cpp": 3.6, "unity_5_cxx.cxx": 3.6, "hf-cache.cpp": 3.5,
    "qwen3-coder.cpp": 3.5, "unity_4_cxx.cxx": 3.5, "kimi-k3.cpp": 3.4, "ling3.cpp": 3.4,
    "minicpm5.cpp": 3.4, "cohere2moe.cpp": 3.3, "caps.cpp": 3.2,
}  # fmt: skip
