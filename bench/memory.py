"""What a model was said to need, against what a running llama-server holds of it.

The models are written on the spot with random weights, tens of megabytes each, so that the process
itself does not decide the figure.  Held is the server's peak resident set after a prompt of several
batches, less what the same program holds with a model of next to nothing.  The weights are read,
not mapped: of mapped ones the kernel counts those that llama.cpp repacks for the processor twice.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import gguf
import numpy as np

from bench.report import Report
from runnerd.backends.interface import BackendConfiguration, ModelFiles
from runnerd.backends.llamacpp.memory import MemoryEstimator, estimate
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.models.description import facts
from runnerd.models.gguf import read_header
from runnerd.models.tiny import write_completion_model

_MIB = 2**20
_CONTEXTS = (2048, 16384)
_PROMPT = 1200  # tokens: more than two physical batches
_QUANTIZATIONS = ("F16", "Q8_0", "Q4_0")


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's dimensions; `gemma3` has further norms and a sliding window."""

    architecture: str
    width: int = 768
    blocks: int = 8
    heads: int = 12
    heads_kv: int = 4
    head: int = 64
    feed_forward: int = 2048
    vocabulary: int = 32000


_SHAPES = (Shape("llama"), Shape("qwen3", head=128), Shape("gemma3", head=128))


def memory(report: Report, seconds: float) -> None:
    """Print the error of the tool's account and of the header's estimate."""
    del report, seconds  # a table of its own, and nothing to time
    asyncio.run(_all())


async def _all() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = parse_settings({"memory_reserve": 0})
        finder = ServerFinder(settings, folder)
        server = await finder.find()
        if server is None:
            print("no llama-server: nothing to compare with")
            return
        oracle = MemoryEstimator(finder, settings)
        small = folder / "small.gguf"
        write_completion_model(small)
        own = await _held(server.path, small, 512)
        print(f"llama-server itself: {own / _MIB:.0f} MiB\n")
        print("| model | context | held MiB | tool | estimate |\n|---|---|---|---|---|")
        for shape in _SHAPES:
            for quantization in _QUANTIZATIONS:
                path = _model(server.path, folder, shape, quantization)
                for context in _CONTEXTS:
                    held = await _held(server.path, path, context) - own
                    files = ModelFiles(path, path.stat().st_size, facts=facts(read_header(path)))
                    asked = BackendConfiguration.model_validate({"context-size": context})
                    told = (await oracle.required([files], asked)).ram_bytes
                    guessed = estimate(files, context).ram_bytes
                    print(
                        f"| {shape.architecture} {quantization} | {context} | {held / _MIB:.0f} "
                        f"| {told / held - 1:+.1%} | {guessed / held - 1:+.1%} |",
                        flush=True,
                    )
                path.unlink()


async def _held(server: Path, model: Path, context: int) -> int:
    """Return the peak resident bytes of a server that has answered a long prompt."""
    with _serving(server, model, context) as process:
        socket = model.with_suffix(".sock")
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession("http://engine", connector=connector) as http:
            await _ready(http, process)
            length = min(_PROMPT, context // 2)
            prompt = [10 + number % 200 for number in range(length)]
            body = json.dumps({"prompt": prompt, "n_predict": 2, "ignore_eos": True})
            async with http.post("/completion", data=body) as answer:
                answer.raise_for_status()
                await answer.read()
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )


@contextmanager
def _serving(server: Path, model: Path, context: int) -> Iterator[subprocess.Popen[bytes]]:
    socket = model.with_suffix(".sock")
    argv = [str(server), "--host", str(socket), "--model", str(model), "--ctx-size", str(context)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*argv, "--offline", "--load-mode", "none"], stdout=quiet, stderr=quiet
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


async def _ready(http: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            async with http.get("/health") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError(f"llama-server ended with status {process.returncode}")


def _model(server: Path, folder: Path, shape: Shape, quantization: str) -> Path:
    """Write a model and bring it to `quantization` with llama.cpp's own tool."""
    source = folder / f"{shape.architecture}.gguf"
    write_model(source, shape)
    if quantization == "F16":
        return source
    path = folder / f"{shape.architecture}-{quantization}.gguf"
    argv = [str(server.with_name("llama-quantize")), str(source), str(path), quantization]
    subprocess.run(argv, check=True, capture_output=True)
    source.unlink()
    return path


def write_model(path: Path, shape: Shape) -> None:
    """Write a model of random weights to `path`."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    _add_shape(writer, shape)
    _add_vocabulary(writer, shape.vocabulary)
    random = np.random.default_rng(1)
    for name, dimensions in _tensors(shape):
        if len(dimensions) == 1:
            writer.add_tensor(name, np.ones(dimensions, dtype=np.float32))
        else:
            values = random.standard_normal(dimensions, dtype=np.float32) * 0.02
            writer.add_tensor(name, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads_kv)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_layer_norm_rms_eps(1e-5)
    if shape.architecture == "gemma3":
        writer.add_sliding_window(1024)


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    kinds = [2, 3, 3] + [6] * 256
    tokens += [f"token{number}" for number in range(size - len(tokens))]
    kinds += [1] * (size - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(number) for number in range(size)])
    writer.add_token_types(kinds)


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, forward = shape.width, shape.feed_forward
    gemma = shape.architecture == "gemma3"
    yield "token_embd.weight", (shape.vocabulary, width)
    yield "output_norm.weight", (width,)
    if not gemma:
        yield "output.weight", (shape.vocabulary, width)
    for block in range(shape.blocks):
        start = f"blk.{block}."
        yield start + "attn_norm.weight", (width,)
        yield start + "attn_q.weight", (shape.heads * shape.head, width)
        yield start + "attn_k.weight", (shape.heads_kv * shape.head, width)
        yield start + "attn_v.weight", (shape.heads_kv * shape.head, width)
        yield start + "attn_output.weight", (width, shape.heads * shape.head)
        yield start + "ffn_norm.weight", (width,)
        yield start + "ffn_gate.weight", (forward, width)
        yield start + "ffn_up.weight", (forward, width)
        yield start + "ffn_down.weight", (width, forward)
        if shape.architecture != "llama":
            yield start + "attn_q_norm.weight", (shape.head,)
            yield start + "attn_k_norm.weight", (shape.head,)
        if gemma:
            yield start + "post_attention_norm.weight", (width,)
            yield start + "post_ffw_norm.weight", (width,)
