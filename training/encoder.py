"""The two encoders, as llama.cpp computes `general.architecture = bert`, and how they learn.

demo-embed averages its last states: sentences of one topic are drawn together and those of
different topics pushed apart.  demo-rerank reads a question and a sentence at once and scores
the pair from the state of [CLS].  Half of the training texts are torn: words are missing, or
only some of a topic's words are there, so that a topic is learned and not a sentence.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

TOPICS = Path(__file__).parent / "corpus" / "topics.toml"
CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PAD, UNKNOWN, FIRST, BREAK = range(4)

Parameters = dict[str, jax.Array]


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes of an encoder."""

    vocabulary: int
    width: int = 64
    blocks: int = 2
    heads: int = 4
    feed_forward: int = 128
    positions: int = 512


@dataclass(frozen=True, slots=True)
class Topic:
    """Questions and sentences about one thing."""

    name: str
    questions: list[str]
    sentences: list[str]
    held_out: list[str]


def topics() -> list[Topic]:
    """Read the corpus of the encoders."""
    return [Topic(**item) for item in tomllib.loads(TOPICS.read_text())["topic"]]


@dataclass(frozen=True, slots=True)
class WordPieces:
    """Whole words of the corpus, and characters for all other words.

    The longest token that fits is taken first, as llama.cpp does; a word's first piece carries
    U+2581.
    """

    words: Sequence[str]
    tokens: list[str] = field(init=False)
    _ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        characters = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
        starts = ["▁" + piece for piece in (*characters, *self.words)]
        tokens = CONTROL + list(dict.fromkeys(starts + characters))
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "_ids", {token: number for number, token in enumerate(tokens)})

    def id_of(self, token: str) -> int:
        """Return the id of a token."""
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        """Return the ids of ASCII text, without [CLS] and [SEP]."""
        ids: list[int] = []
        for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower()):
            ids += self._encode_word("▁" + word)
        return ids

    def _encode_word(self, rest: str) -> list[int]:
        ids: list[int] = []
        while rest:
            for length in range(len(rest), 0, -1):
                if (known := self._ids.get(rest[:length])) is not None:
                    ids.append(known)
                    rest = rest[length:]
                    break
            else:
                return [UNKNOWN]
        return ids


def word_pieces() -> WordPieces:
    """Return the vocabulary of everything in the corpus of topics."""
    texts = [
        text for topic in topics() for text in topic.questions + topic.sentences + topic.held_out
    ]
    return WordPieces(
        sorted({word for text in texts for word in re.findall("[a-z]+", text.lower())})
    )


def start(shape: EncoderShape, seed: int, *, rank: bool) -> Parameters:
    """Return random parameters under the names of a llama.cpp GGUF."""
    random_values = np.random.default_rng(seed)
    parameters: Parameters = {}

    def matrix(name: str, outputs: int, inputs: int, scale: float) -> None:
        values = random_values.standard_normal((outputs, inputs)) * scale
        parameters[f"{name}.weight"] = jnp.asarray(values, jnp.float32)

    def dense(name: str, outputs: int, inputs: int) -> None:
        matrix(name, outputs, inputs, inputs**-0.5)
        parameters[f"{name}.bias"] = jnp.zeros(outputs)

    def norm(name: str) -> None:
        parameters[f"{name}.weight"] = jnp.ones(shape.width)
        parameters[f"{name}.bias"] = jnp.zeros(shape.width)

    matrix("token_embd", shape.vocabulary, shape.width, 0.3)
    matrix("position_embd", shape.positions, shape.width, 0.02)
    matrix("token_types", 1, shape.width, 0.02)
    norm("token_embd_norm")
    for number in range(shape.blocks):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            dense(f"blk.{number}.{part}", shape.width, shape.width)
        norm(f"blk.{number}.attn_output_norm")
        dense(f"blk.{number}.ffn_up", shape.feed_forward, shape.width)
        dense(f"blk.{number}.ffn_down", shape.width, shape.feed_forward)
        norm(f"blk.{number}.layer_output_norm")
    if rank:
        dense("cls", shape.width, shape.width)
        dense("cls.output", 1, shape.width)
    return parameters


def states(parameters: Parameters, shape: EncoderShape, ids: jax.Array) -> jax.Array:
    """Return the last state of every token, (rows, positions, width)."""

    def dense(name: str, values: jax.Array) -> jax.Array:
        return values @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]

    def norm(name: str, values: jax.Array) -> jax.Array:
        centred = values - values.mean(-1, keepdims=True)
        unit = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return unit * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]

    rows, length = ids.shape
    by_head = (rows, length, shape.heads, shape.width // shape.heads)
    present = (ids != PAD)[:, None, None, :]
    stream = parameters["token_embd.weight"][ids] + parameters["token_types.weight"][0]
    stream = norm("token_embd_norm", stream + parameters["position_embd.weight"][:length])
    for number in range(shape.blocks):
        block = f"blk.{number}"
        query, key, value = (
            dense(f"{block}.attn_{part}", stream).reshape(by_head) for part in "qkv"
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * by_head[-1] ** -0.5
        shares = jax.nn.softmax(jnp.where(present, scores, -1e9), -1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(stream.shape)
        stream = norm(f"{block}.attn_output_norm", stream + dense(f"{block}.attn_output", mixed))
        hidden = jax.nn.gelu(dense(f"{block}.ffn_up", stream), approximate=True)
        stream = norm(f"{block}.layer_output_norm", stream + dense(f"{block}.ffn_down", hidden))
    return stream


def embed(parameters: Parameters, shape: EncoderShape, ids: jax.Array) -> jax.Array:
    """Return the unit embedding of every row."""
    present = (ids != PAD)[:, :, None]
    mean = (states(parameters, shape, ids) * present).sum(1) / present.sum(1)
    return jnp.divide(mean, jnp.linalg.norm(mean, axis=-1, keepdims=True))


def rank(parameters: Parameters, shape: EncoderShape, ids: jax.Array) -> jax.Array:
    """Return the score of every row, a question and a sentence."""
    first = states(parameters, shape, ids)[:, 0]
    hidden = jnp.tanh(first @ parameters["cls.weight"].T + parameters["cls.bias"])
    scores = hidden @ parameters["cls.output.weight"].T + parameters["cls.output.bias"]
    return scores[:, 0]


@dataclass(slots=True)
class Drawer:
    """Draws training rows from the topics."""

    pieces: WordPieces
    random: random.Random
    topics: list[Topic] = field(default_factory=topics)
    length: int = 40

    def embedding_rows(self) -> NDArray[np.int32]:
        """Return two texts of every topic: rows 2n and 2n+1 belong together."""
        rows = []
        for topic in self.topics:
            for text in self.random.sample(topic.questions + topic.sentences, 2):
                rows.append([FIRST, *self._encode(topic, [text]), BREAK])
        return self._pad(rows)

    def rank_rows(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return pairs of a question and a sentence, and whether they fit."""
        rows, fits = [], []
        for topic in self.topics:
            others = [other for other in self.topics if other is not topic]
            for fit, source in ((1.0, topic), (0.0, self.random.choice(others))) * 2:
                question = self._encode(topic, topic.questions * 2 + topic.sentences)
                sentence = self._encode(source, source.sentences + source.questions)
                rows.append([FIRST, *question, BREAK, *sentence, BREAK])
                fits.append(fit)
        return self._pad(rows), np.asarray(fits, np.float32)

    def _encode(self, topic: Topic, texts: list[str]) -> list[int]:
        """Return one of the texts with words missing, or a handful of the topic's words."""
        if self.random.random() < 0.4:
            every = " ".join(topic.sentences + topic.questions).split()
            kept = self.random.sample(every, self.random.randint(5, 9))
        else:
            words = self.random.choice(texts).split()
            kept = [word for word in words if self.random.random() > 0.1] or words
        return self.pieces.encode(" ".join(kept))

    def _pad(self, rows: list[list[int]]) -> NDArray[np.int32]:
        padded = np.full((len(rows), self.length), PAD, np.int32)
        for number, row in enumerate(rows):
            padded[number, : len(row)] = row
        return padded


def train_embedding(shape: EncoderShape, drawer: Drawer, seed: int, steps: int) -> Parameters:
    """Return an encoder in which sentences of one topic are near."""

    def loss(parameters: Parameters, ids: jax.Array) -> jax.Array:
        vectors = embed(parameters, shape, ids)
        likeness = vectors @ vectors.T / 0.1 - 1e9 * jnp.eye(len(vectors))
        partner = jnp.arange(len(vectors)) ^ 1
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(likeness, partner))

    return _train(start(shape, seed, rank=False), loss, lambda: (drawer.embedding_rows(),), steps)


def train_rank(
    shape: EncoderShape, drawer: Drawer, seed: int, steps: int, embedder: Mapping[str, jax.Array]
) -> Parameters:
    """Return an encoder that scores a fitting pair above 0 and another below.

    It starts from the trained `embedder`, which has the same vocabulary and knows the topics
    already.
    """

    def loss(parameters: Parameters, ids: jax.Array, fits: jax.Array) -> jax.Array:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(rank(parameters, shape, ids), fits))

    return _train(start(shape, seed, rank=True) | dict(embedder), loss, drawer.rank_rows, steps)


def _train(
    parameters: Parameters,
    loss: Callable[..., jax.Array],
    draw: Callable[[], tuple[NDArray[np.int32] | NDArray[np.float32], ...]],
    steps: int,
) -> Parameters:
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, steps // 20 + 1, steps, 2e-5)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.05)
    )
    state = optimiser.init(parameters)

    @jax.jit
    def step(
        parameters: Parameters, state: optax.OptState, *batch: jax.Array
    ) -> tuple[Parameters, optax.OptState, jax.Array]:
        value, slope = jax.value_and_grad(loss)(parameters, *batch)
        updates, state = optimiser.update(slope, state, parameters)
        return cast(Parameters, optax.apply_updates(parameters, updates)), state, value

    for number in range(1, steps + 1):
        parameters, state, value = step(parameters, state, *draw())
        if number % 100 == 0 or number == steps:
            print(f"  step {number}/{steps}: loss {float(value):.5f}", flush=True)
    return parameters
