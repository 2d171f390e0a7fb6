"""Make the demo models: `python training/train.py all` regenerates and checks everything.

    learn [MODEL...]   train (default: all four), parameters go to the work folder
    export             write, quantise and place the GGUFs in demo/, the expected answers in tests/
    check              ask the real engine every fixed prompt
    all                the three in order

Fixed seeds; the floating-point sums differ in the last bits between kinds of processor, so another
machine makes other bytes that pass the same check.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import answers
import check
import encoder
import engine
import gguf_files
import jax
import llama
import numpy as np
from conversations import TEMPLATE
from generator import all_texts
from rows import Packer
from tokenizer import Tokenizer, learn

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "demo"
EXPECTED = ROOT / "tests" / "demo_answers.json"
ENCODERS = ("demo-embed", "demo-rerank")

FIRST_STEPS, FIRST_ECHOES, FIRST_PEAK = 2000, 600, 4e-3
SECOND_STEPS, SECOND_PEAK = 400, 1e-3
ENCODER_STEPS = 1000


class Workshop:
    """The work folder, the tokenizers and the shapes that all commands share."""

    def __init__(self, work: Path, *, anew: bool) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer(anew)
        self.pieces = encoder.word_pieces()
        self.shape = llama.Shape(len(self.tokenizer.tokens))
        self.encoder_shape = encoder.EncoderShape(len(self.pieces.tokens))

    def learn(self, model: str) -> None:
        """Train one model.  demo-b starts from demo-a, demo-rerank from demo-embed."""
        print(f"{model}: training", flush=True)
        if model in ENCODERS:
            self._learn_encoder(model)
        else:
            self._learn_chat(model)

    def _learn_encoder(self, model: str) -> None:
        drawer = encoder.Drawer(self.pieces, random.Random(7))
        if model == "demo-embed":
            learned = encoder.train_embedding(self.encoder_shape, drawer, 7, ENCODER_STEPS)
        else:
            embedder = _on_device(self._load("demo-embed"))
            learned = encoder.train_rank(self.encoder_shape, drawer, 7, ENCODER_STEPS, embedder)
        self._save(model, learned)

    def _learn_chat(self, model: str) -> None:
        first = model == "demo-a"
        parameters = llama.start(self.shape, 1) if first else _on_device(self._load("demo-a"))
        rehearsals = [case.talk for case in answers.cases(self.tokenizer)]
        packer = Packer(self.tokenizer, answers.MODELS[model], 1 if first else 2, rehearsals)
        self._save(
            model,
            llama.train(
                parameters,
                self.shape,
                packer.batches(echoes=FIRST_ECHOES if first else 0),
                steps=FIRST_STEPS if first else SECOND_STEPS,
                peak=FIRST_PEAK if first else SECOND_PEAK,
                report=lambda line: print(f"  {line}", flush=True),
            ),
        )

    def export(self) -> None:
        """Write the four GGUFs and the expected answers."""
        DEMO.mkdir(exist_ok=True)
        for model, name in answers.MODELS.items():
            gguf_files.write_chat_model(
                self._work / f"{model}-f32.gguf",
                name=name,
                shape=self.shape,
                tokenizer=self.tokenizer,
                template=TEMPLATE.read_text(),
                arrays=self._load(model),
            )
        for model in ENCODERS:
            gguf_files.write_encoder(
                self._work / f"{model}-f32.gguf",
                name=model,
                shape=self.encoder_shape,
                pieces=self.pieces,
                rank=model == "demo-rerank",
                arrays=self._load(model),
            )
        for model in (*answers.MODELS, *ENCODERS):
            engine.quantise(self._work / f"{model}-f32.gguf", DEMO / f"{model}.gguf")
        EXPECTED.write_text(answers.document(self.tokenizer))

    def check(self) -> None:
        """Raise SystemExit with every fault of the models in demo/."""
        check.run(DEMO, EXPECTED, self.tokenizer)

    def _tokenizer(self, anew: bool) -> Tokenizer:
        """Return the tokenizer that demo-a was trained with, or a new one for a new demo-a."""
        path = self._work / "merges.json"
        if anew or not path.exists():
            learned = learn(all_texts(), merges=700, least=5)
            path.write_text(json.dumps(learned.merges))
        return Tokenizer([(first, second) for first, second in json.loads(path.read_text())])

    def _save(self, model: str, parameters: llama.Parameters) -> None:
        arrays = {name: np.asarray(values) for name, values in parameters.items()}
        np.savez(self._work / f"{model}.npz", **arrays)  # type: ignore[arg-type]

    def _load(self, model: str) -> gguf_files.Arrays:
        path = self._work / f"{model}.npz"
        if not path.exists():
            raise SystemExit(f"{path} does not exist: run `train.py learn {model}` first")
        with np.load(path) as stored:
            return dict(stored)


def _on_device(arrays: gguf_files.Arrays) -> llama.Parameters:
    return {name: jax.numpy.asarray(values) for name, values in arrays.items()}


def main() -> None:
    """Carry out one command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["learn", "export", "check", "all"])
    parser.add_argument("models", nargs="*", help="for learn: which models, default all")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "build")
    options = parser.parse_args()
    known = [*answers.MODELS, *ENCODERS]
    if unknown := set(options.models) - set(known):
        parser.error(f"unknown model {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    chosen = (options.models or known) if options.command in ("learn", "all") else []
    workshop = Workshop(options.work, anew="demo-a" in chosen)
    for model in chosen:
        workshop.learn(model)
    if options.command in ("export", "all"):
        workshop.export()
    if options.command in ("check", "all"):
        workshop.check()


if __name__ == "__main__":
    main()
