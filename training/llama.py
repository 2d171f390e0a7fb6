"""A llama-architecture decoder in JAX, and its training.

It computes what llama.cpp computes for `general.architecture = llama`: RMSNorm before each
part, rotary positions on neighbouring pairs of each head (so no permutation of q and k is due),
SwiGLU, and an output matrix tied to the embedding.  A row of training data holds whole
conversations one after another; each attends to itself alone, and only the assistant's words
count in the loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

Parameters = dict[str, jax.Array]
EPSILON = 1e-5
ROPE_BASE = 10000.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder; widths are multiples of 32, Q8_0's block."""

    vocabulary: int
    width: int = 128
    blocks: int = 3
    heads: int = 4
    feed_forward: int = 320


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of token ids, the conversation that each belongs to (0: padding) and what is learned."""

    tokens: NDArray[np.int32]
    segments: NDArray[np.int32]
    learned: NDArray[np.float32]


def start(shape: Shape, seed: int) -> Parameters:
    """Return random parameters named as in a llama.cpp GGUF, matrices as (outputs, inputs)."""
    random = np.random.default_rng(seed)
    width, hidden = shape.width, shape.feed_forward

    def matrix(outputs: int, inputs: int, scale: float = 1.0) -> jax.Array:
        values = random.standard_normal((outputs, inputs)) * scale * inputs**-0.5
        return jnp.asarray(values, jnp.float32)

    residual = (2 * shape.blocks) ** -0.5
    parameters = {"token_embd.weight": matrix(shape.vocabulary, width)}
    for number in range(shape.blocks):
        block = f"blk.{number}"
        parameters[f"{block}.attn_norm.weight"] = jnp.ones(width)
        for projection in ("attn_q", "attn_k", "attn_v"):
            parameters[f"{block}.{projection}.weight"] = matrix(width, width)
        parameters[f"{block}.attn_output.weight"] = matrix(width, width, residual)
        parameters[f"{block}.ffn_norm.weight"] = jnp.ones(width)
        parameters[f"{block}.ffn_gate.weight"] = matrix(hidden, width)
        parameters[f"{block}.ffn_up.weight"] = matrix(hidden, width)
        parameters[f"{block}.ffn_down.weight"] = matrix(width, hidden, residual)
    parameters["output_norm.weight"] = jnp.ones(width)
    return parameters


def logits(
    parameters: Parameters, shape: Shape, tokens: jax.Array, segments: jax.Array
) -> jax.Array:
    """Return the scores of every next token, (rows, positions, vocabulary)."""
    positions = tokens.shape[1]
    past = jnp.tril(jnp.ones((positions, positions), bool))
    mask = past & (segments[:, :, None] == segments[:, None, :])
    # gguf_files.py folds this factor into the matrix: the engine has none.
    stream = parameters["token_embd.weight"][tokens] * shape.width**0.5
    rotation = _rotation(positions, shape.width // shape.heads)
    for number in range(shape.blocks):

        def weight(name: str, block: str = f"blk.{number}") -> jax.Array:
            return parameters[f"{block}.{name}.weight"]

        stream += _attention(_norm(stream, weight("attn_norm")), weight, shape, mask, rotation)
        normal = _norm(stream, weight("ffn_norm"))
        gated = jax.nn.silu(normal @ weight("ffn_gate").T) * (normal @ weight("ffn_up").T)
        stream += gated @ weight("ffn_down").T
    normal = _norm(stream, parameters["output_norm.weight"])
    return normal @ parameters["token_embd.weight"].T


def _norm(values: jax.Array, weight: jax.Array) -> jax.Array:
    return values * jax.lax.rsqrt(jnp.mean(values**2, -1, keepdims=True) + EPSILON) * weight


def _rotation(positions: int, head: int) -> tuple[jax.Array, jax.Array]:
    frequencies = ROPE_BASE ** (-jnp.arange(0, head, 2) / head)
    angles = jnp.arange(positions)[:, None] * frequencies
    return jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]


def _rotate(heads: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    cosine, sine = rotation
    even, odd = heads[..., 0::2], heads[..., 1::2]
    turned = jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1)
    return turned.reshape(heads.shape)


def _attention(
    normal: jax.Array,
    weight: Callable[[str], jax.Array],
    shape: Shape,
    mask: jax.Array,
    rotation: tuple[jax.Array, jax.Array],
) -> jax.Array:
    rows, positions, width = normal.shape
    by_head = (rows, positions, shape.heads, width // shape.heads)
    query = _rotate((normal @ weight("attn_q").T).reshape(by_head), rotation)
    key = _rotate((normal @ weight("attn_k").T).reshape(by_head), rotation)
    value = (normal @ weight("attn_v").T).reshape(by_head)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * by_head[-1] ** -0.5
    shares = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e9), -1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(rows, positions, width)
    return mixed @ weight("attn_output").T


def _loss(
    parameters: Parameters,
    shape: Shape,
    tokens: jax.Array,
    segments: jax.Array,
    learned: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the mean loss over the learned tokens, and the share not chosen first."""
    scores = logits(parameters, shape, tokens, segments)[:, :-1]
    targets, weights = tokens[:, 1:], learned[:, 1:]
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, targets)
    wrong = (scores.argmax(-1) != targets) * weights
    total = weights.sum()
    return (losses * weights).sum() / total, wrong.sum() / total


def train(
    parameters: Parameters,
    shape: Shape,
    batches: Iterator[Batch],
    *,
    steps: int,
    peak: float,
    report: Callable[[str], None],
) -> Parameters:
    """Return the parameters after `steps` batches of AdamW with a learning rate up to `peak`."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, steps // 20 + 1, steps, peak / 100)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.98, weight_decay=0.02)
    )
    state = optimiser.init(parameters)

    @jax.jit
    def step(
        parameters: Parameters, state: optax.OptState, *batch: jax.Array
    ) -> tuple[Parameters, optax.OptState, jax.Array, jax.Array]:
        (loss, wrong), slope = jax.value_and_grad(_loss, has_aux=True)(parameters, shape, *batch)
        updates, state = optimiser.update(slope, state, parameters)
        return cast(Parameters, optax.apply_updates(parameters, updates)), state, loss, wrong

    began = time.monotonic()
    for number in range(1, steps + 1):
        batch = next(batches)
        parameters, state, loss, wrong = step(
            parameters, state, batch.tokens, batch.segments, batch.learned
        )
        if number % 50 == 0 or number == steps:
            seconds = time.monotonic() - began
            report(
                f"step {number}/{steps}: loss {float(loss):.5f}, "
                f"{float(wrong):.3%} wrong, {seconds:.0f} s"
            )
    return parameters
