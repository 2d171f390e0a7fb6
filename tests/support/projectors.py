"""A projector with random weights for the tiny model: with it an engine really sees and hears."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from bench.projectors import Projector, describe, tensors
from runnerd.models import tiny
from tests.support.clients import ollama_client
from tests.support.daemon import DaemonProcess

IMAGE_TOKENS = 16
"""What an image is turned into: 4 by 4 patches of 8 by 8 pixels."""

SOUND_TOKENS = 93
"""What a sound of up to 30 s is turned into: 1,500 positions in whole stacks of 16."""

_EYES = Projector("LLaVA's kind", "mlp", 32, 1, 2, 64, 32, 8)
_EARS = Projector("Ultravox's kind", "ultravox", 32, 1, 2, 64, merge=16)


def create_seer(daemon: DaemonProcess, root: Path) -> None:
    """Create the model "seer", which sees and hears, of two files that are written to a folder."""
    tiny.write_completion_model(root / "tiny.gguf", context_length=4096)
    write_projector(root / "mmproj.gguf")
    with ollama_client(daemon) as client:
        files = {name: client.create_blob(root / name) for name in ("mmproj.gguf", "tiny.gguf")}
        client.create("seer", files=files)


def write_projector(path: Path) -> Path:
    """Write a projector of images and of sounds."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_vision_use_gelu(True)
    random = np.random.default_rng(11)
    for shape in (_EYES, _EARS):
        describe(writer, shape, tiny.WIDTH)
        for name, dimensions in tensors(shape, tiny.WIDTH):
            values = random.standard_normal(dimensions) * 0.3
            convolves = name.startswith("a.conv1d") and name.endswith(".weight")
            writer.add_tensor(name, values.astype(np.float16 if convolves else np.float32))
    tiny.finish(writer)
    return path
