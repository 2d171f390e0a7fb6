"""Models of any architecture that llama.cpp can build, with random weights.

llama.cpp's own test of all architectures shows the way: given the numbers of a header it says
itself which tensors such a model has.  So a shape is a table of numbers (`shapes`), and a new
architecture needs no code.  This runs in a process of its own (`python -m bench.architectures`),
because llama.cpp aborts where a number does not fit.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from runnerd.models.tiny import finish

Numbers = Mapping[str, Any]
"""Keys of a GGUF header, without the architecture in front; one with a dot in front has none.
Lists are per layer."""

_FLOATS, _UNSIGNED = 6, 4  # enum gguf_type


class _Tensor(ctypes.Structure):
    """The beginning of struct ggml_tensor."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
    )


def write(path: Path, architecture: str, numbers: Numbers) -> None:
    """Write a model in F32.  Raises subprocess.CalledProcessError with llama.cpp's last words."""
    order = json.dumps({"architecture": architecture, "numbers": numbers, "path": str(path)})
    command = [sys.executable, "-m", "bench.architectures"]
    subprocess.run(command, input=order.encode(), check=True, capture_output=True)


def _main() -> None:
    order = json.load(sys.stdin)
    architecture, numbers = order["architecture"], order["numbers"]
    tensors = _tensors(architecture, numbers)
    writer = gguf.GGUFWriter(order["path"], architecture)
    _write_header(writer, architecture, numbers)
    drawn = np.random.default_rng(1).standard_normal(2**20, dtype=np.float32)
    pool = drawn * np.float32(0.02)
    for name, shape in tensors:
        # The decay of a state-space model must be below zero.
        source = -np.abs(pool) if "ssm_a" in name else np.ones(1) if "norm" in name else pool
        writer.add_tensor(name, np.resize(source, shape).astype(np.float32))
    finish(writer)


def _tensors(architecture: str, numbers: Numbers) -> list[tuple[str, tuple[int, ...]]]:
    """Return the tensors that llama.cpp asks for, outermost dimension first."""
    from llama_cpp import _ggml, llama_cpp

    ggml, llama, found = _ggml.libggml, llama_cpp._lib, []
    ggml.ggml_get_name.argtypes, ggml.ggml_get_name.restype = [ctypes.c_void_p], ctypes.c_char_p

    def note(tensor: int, _: object) -> None:
        name = ggml.ggml_get_name(tensor).decode()
        sizes = list(_Tensor.from_address(tensor).ne)
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes.pop()
        found.append((name, tuple(reversed(sizes))))

    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(note)
    build = llama.llama_model_init_from_user
    build.argtypes = [ctypes.c_void_p, type(callback), ctypes.c_void_p]
    build.argtypes += [llama_cpp.llama_model_params]
    build.restype = ctypes.c_void_p
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = False
    if not build(_header(ggml, architecture, numbers), callback, None, parameters):
        sys.exit(f"llama.cpp cannot build {architecture}")
    return list(dict(found).items())


def _header(ggml: Any, architecture: str, numbers: Numbers) -> ctypes.c_void_p:
    """Return the header as llama.cpp's own object."""
    ggml.gguf_init_empty.restype = ctypes.c_void_p
    header = ctypes.c_void_p(ggml.gguf_init_empty())
    ggml.gguf_set_val_str(header, b"general.architecture", architecture.encode())
    ggml.gguf_set_val_str(header, b"tokenizer.ggml.model", b"test")
    count = numbers["vocab_size"]
    tokens = (ctypes.c_char_p * count)(*[token.encode() for token in _tokens(count)])
    ggml.gguf_set_arr_str(header, b"tokenizer.ggml.tokens", tokens, ctypes.c_size_t(count))
    scores = (ctypes.c_float * count)()
    size = ctypes.c_size_t(count)
    ggml.gguf_set_arr_data(header, b"tokenizer.ggml.scores", _FLOATS, scores, size)
    for name, value in numbers.items():
        key = _key(architecture, name).encode()
        if isinstance(value, bool):
            ggml.gguf_set_val_bool(header, key, ctypes.c_bool(value))
        elif isinstance(value, int):
            ggml.gguf_set_val_u32(header, key, ctypes.c_uint32(value))
        elif isinstance(value, float):
            ggml.gguf_set_val_f32(header, key, ctypes.c_float(value))
        else:
            many = (ctypes.c_uint32 * len(value))(*value)
            ggml.gguf_set_arr_data(header, key, _UNSIGNED, many, ctypes.c_size_t(len(value)))
    return header


def _write_header(writer: gguf.GGUFWriter, architecture: str, numbers: Numbers) -> None:
    """Write the same header."""
    writer.add_tokenizer_model("test")
    writer.add_token_list(_tokens(numbers["vocab_size"]))
    writer.add_token_scores([0.0] * numbers["vocab_size"])
    for name, value in numbers.items():
        key = _key(architecture, name)
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, value)


def _tokens(count: int) -> list[str]:
    return [f"tok_{number}" for number in range(count)]


def _key(architecture: str, name: str) -> str:
    return name[1:] if name.startswith(".") else f"{architecture}.{name}"


if __name__ == "__main__":
    _main()
