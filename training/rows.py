"""ResponseStore packed into rows of one length, with a mark on what is to be learned."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import numpy as np
from generator import Generator, Talk
from llama import Batch
from tokenizer import TURN_END, TURN_START, Tokenizer

# Rows, their length in tokens and the turns of a conversation at most, one batch after
# another.  Most rows are short and cheap; the long ones teach the model to look far back.
ROUND = [(20, 160, 2)] * 5 + [(8, 384, 8)] * 2 + [(2, 1024, 20)]


class Packer:
    """Fills batches with the conversations of one generator."""

    def __init__(
        self, tokenizer: Tokenizer, name: str, seed: int, rehearsals: Sequence[Talk] = ()
    ) -> None:
        self._tokenizer = tokenizer
        self._generator = Generator(name, seed, rehearsals)
        self._random = random.Random(seed)
        self._answer_start = tokenizer.encode(f"{TURN_START}assistant\n")
        self._turn_end = tokenizer.id_of(TURN_END)

    def batches(self, *, echoes: int) -> Iterator[Batch]:
        """Yield batches for ever, the first `echoes` of them mostly of things to repeat.

        Copying is the hardest part for so small a model, and a name, a city and a colour need
        it too.
        """
        for number, (rows, length, turns) in enumerate(itertools.cycle(ROUND)):
            self._generator.echo_weight = 15.0 if number < echoes else 1.5
            yield self._batch(rows, length, turns=turns)

    def learned(self, ids: list[int]) -> list[bool]:
        """Return for each token whether the assistant says it, the end of its turn included."""
        marks = [False] * len(ids)
        start = self._answer_start
        position = 0
        while position < len(ids):
            if ids[position : position + len(start)] != start:
                position += 1
                continue
            position += len(start)
            while position < len(ids):
                marks[position] = True
                position += 1
                if ids[position - 1] == self._turn_end:
                    break
        return marks

    def _batch(self, rows: int, length: int, *, turns: int) -> Batch:
        batch = Batch(
            np.zeros((rows, length), np.int32),
            np.zeros((rows, length), np.int32),
            np.zeros((rows, length), np.float32),
        )
        for row in range(rows):
            self._fill(batch, row, length, turns)
        return batch

    def _fill(self, batch: Batch, row: int, length: int, turns: int) -> None:
        used = segment = 0
        while used < length:
            text = self._generator.conversation(self._random.randint(1, turns))
            # What does not fit is cut off: a start without its end teaches nothing wrong.
            ids = self._tokenizer.encode(text)[: length - used]
            end, segment = used + len(ids), segment + 1
            batch.tokens[row, used:end] = ids
            batch.segments[row, used:end] = segment
            batch.learned[row, used:end] = self.learned(ids)
            used = end
