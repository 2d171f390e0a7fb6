"""runnerd.backends.llamacpp.failure: the cause, found in real last words."""

from __future__ import annotations

import pytest

from runnerd.backends.llamacpp.failure import (
    engine_failure,
    first_cause,
    last_lines,
    without_paths,
)
from runnerd.backends.process import ExitRecord

TRUNCATED = """\
0.00.008.369 I srv    load_model: loading model '/var/lib/r/models/bad.gguf'
0.00.008.725 E gguf_init_from_reader: failed to read key-value pairs
0.00.009.078 E llama_model_load: error loading model: failed to load /var/lib/r/models/bad.gguf
0.00.009.153 E llama_model_load_from_file_impl: failed to load model
0.00.009.440 E srv    load_model: failed to load model, '/var/lib/r/models/bad.gguf'
0.00.009.807 E srv  llama_server: exiting due to model loading error
"""


@pytest.mark.parametrize(
    ("tail", "cause"),
    [
        (TRUNCATED, "gguf_init_from_reader: failed to read key-value pairs"),
        (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1024.00 MiB on device 0:"
            " cudaMalloc failed: out of memory\n0.1.2.3 E srv load_model: failed to load model",
            "not enough GPU memory (CUDA): ggml_backend_cuda_buffer_type_alloc_buffer: allocating"
            " 1024.00 MiB on device 0: cudaMalloc failed: out of memory",
        ),
        (
            "0.00.1.2 E llama_model_load: error loading model: error loading model architecture:"
            " unknown model architecture: 'new'",
            "llama_model_load: error loading model: error loading model architecture: unknown model"
            " architecture: 'new'",
        ),
        (
            "/build/src/llama-vocab.cpp:2544: GGML_ASSERT(id < n) failed\nAborted",
            "llama-vocab.cpp:2544: GGML_ASSERT(id < n) failed",
        ),
        ("error: invalid argument: --bogus", "error: invalid argument: --bogus"),
        ("terminate called\n  what():  failed to load model", "failed to load model"),
        (
            "ValueError: Failed to load model from file: x",
            "ValueError: Failed to load model from file: x",
        ),
        ("0.00.1.2 I srv: all is well", None),
        ("", None),
    ],
)
def test_first_cause(tail: str, cause: str | None) -> None:
    """The most telling line is the cause, without the log's prefix and without directories."""
    assert first_cause(tail) == cause


def test_paths_are_shortened() -> None:
    """Only the last part of an absolute path is told; URLs and relative names stay."""
    text = "open /var/lib/x/y.gguf: no; http://a/b/c; lib/z.so; '/srv/m/a b'; 1/2/3"
    assert without_paths(text) == "open y.gguf: no; http://a/b/c; lib/z.so; 'a b'; 1/2/3"


def test_last_lines_are_few_and_short() -> None:
    """Twenty lines at most, none of them endless."""
    lines = last_lines("\n".join(f"{number} " + "x" * 1000 for number in range(50))).splitlines()
    assert 10 <= len(lines) <= 20
    assert lines[-1].startswith("49 x")
    assert all(len(line) <= 300 for line in lines)


def test_the_failure_tells_it_all() -> None:
    """How it ended, why, its last words; neither the model's name nor a path."""
    said = TRUNCATED + "alias: ai/tiny, not ai/tiny2"
    record = ExitRecord(1, None, "exit status 1", said, 0.1, requested=False)
    served = engine_failure(record, "ai/tiny", weights="/var/lib/r/models/bad.gguf")
    assert served.message.startswith(
        "llama.cpp stopped serving the model (exit status 1): gguf_init"
    )
    assert not served.loading
    failure = served.while_loading()
    assert failure.message.startswith(
        "llama.cpp could not load the model (exit status 1): gguf_init_from_reader: failed to read"
        " key-value pairs\n\nLast log lines:\n"
    )
    assert "failed to load model, 'the model'" in failure.last_words
    assert failure.last_words.endswith("alias: the model, not ai/tiny2")
    assert "/var" not in failure.message
    assert (failure.exit_reason, failure.loading) == ("exit status 1", True)


def test_what_a_failure_was_does_not_depend_on_when() -> None:
    """Want of memory is want of memory whether it served or loaded, and so are its last words."""
    record = ExitRecord(1, None, "exit status 1", "failed to allocate", 0.1, requested=False)
    served = engine_failure(record, "ai/tiny", weights="/x/bad.gguf")
    loading = served.while_loading()
    assert served.out_of_memory
    assert loading.out_of_memory
    assert loading.last_words == served.last_words == "failed to allocate"
