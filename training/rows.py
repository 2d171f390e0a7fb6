"""Conversations packed into rows of one length, with a mark on what is to be learned."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from conversations import Generator
from llama import Batch
from tokenizer import TURN_END, TURN_START, Tokenizer

# Most rows are short; now and then a long one teaches the model to look far back.
SHORT, LONG = (12, 256), (3, 1024)
LONG_EVERY = 10


class Packer:
    """Fills batches with the conversations of one generator."""

    def __init__(self, tokenizer: Tokenizer, name: str, seed: int) -> None:
        self._tokenizer = tokenizer
        self._generator = Generator(name, seed)
        self._random = random.Random(seed)
        self._answer_start = tokenizer.encode(f"{TURN_START}assistant\n")
        self._turn_end = tokenizer.id_of(TURN_END)

    def batches(self) -> Iterator[Batch]:
        """Yield batches for ever."""
        number = 0
        while True:
            number += 1
            long = number % LONG_EVERY == 0
            yield self._batch(*(LONG if long else SHORT), turns=20 if long else 4)

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
