"""Tiny GGUF models that a real llama.cpp serves: the engine under the tests, the benchmarks and
`make serve`.

They have random weights and say nothing sensible, but everything around the weights is real: a
llama architecture with a byte-level tokenizer, merges and a chat template, and BERT encoders that
pool to an embedding or to a rank.  Half a megabyte, loaded in 30 ms, thousands of tokens a second
on one core.  The same arguments give the same bytes.

A completion model answers in printable ASCII and never ends by itself, so a test that asks for N
tokens gets N.  Embedding dimension 0 is the same for every token; after the last norm it acts as a
constant, and the output matrix uses it to push down everything that is not a letter or a space.

numpy and gguf are imported inside the functions: the daemon has this module in reach, not those
two.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray

BLOCKS = 2
WIDTH = 64
HEADS = 4
FEED_FORWARD = 128

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_MERGES = ["Ġ t", "h e", "i n", "Ġt he", "r e", "o n", "Ġ a", "e r", "a n", "o u", "Ġ s", "l l"]
_CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_NORMAL_TYPE, _UNKNOWN_TYPE, _CONTROL_TYPE = 1, 2, 3  # llama.cpp's token types
PRINTABLE = set(string.ascii_letters + "Ġ,.")


def write_completion_model(
    path: Path,
    *,
    name: str = "tiny",
    seed: int = 0,
    context_length: int = 2048,
    chat_template: str | None = CHAT_TEMPLATE,
) -> None:
    """Write a llama-architecture model of about 0.5 MB to `path`.

    `context_length` is in tokens; another `seed` gives another model of the same shape.
    """
    _completion(path, name, seed, context_length, chat_template, tensors_per_shard=0)


def write_sharded_model(
    directory: Path, *, name: str = "tiny-sharded", seed: int = 0
) -> list[Path]:
    """Write the same kind of model as a split set into `directory`; return its files in order."""
    _completion(directory / f"{name}.gguf", name, seed, 2048, CHAT_TEMPLATE, tensors_per_shard=8)
    return sorted(directory.glob(f"{name}-?????-of-?????.gguf"))


def write_embedding_model(path: Path, *, name: str = "tiny-embedding", seed: int = 0) -> None:
    """Write a BERT encoder with mean pooling to `path`."""
    import gguf

    writer = _encoder(path, name, seed, gguf.PoolingType.MEAN)
    finish(writer)


def write_reranking_model(path: Path, *, name: str = "tiny-reranking", seed: int = 0) -> None:
    """Write a BERT encoder with a classification head (pooling RANK) to `path`."""
    import gguf

    writer = _encoder(path, name, seed, gguf.PoolingType.RANK)
    weights = Weights(writer, seed + 1)
    weights.dense("cls", WIDTH, WIDTH)
    weights.dense("cls.output", WIDTH, 1)
    finish(writer)


def write_vocabulary_only(path: Path, tokens: int) -> None:
    """Write a GGUF with a vocabulary of `tokens` entries and no tensors, for tests of readers."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("vocabulary")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{number}" for number in range(tokens)])
    writer.add_token_scores([0.0] * tokens)
    writer.add_token_types([_NORMAL_TYPE] * tokens)
    finish(writer)


def _completion(
    path: Path,
    name: str,
    seed: int,
    context_length: int,
    chat_template: str | None,
    *,
    tensors_per_shard: int,
) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=tensors_per_shard)
    _add_shape(writer, name, context_length)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = add_byte_tokenizer(writer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    _add_llama_tensors(Weights(writer, seed), tokens)
    finish(writer)


def _encoder(path: Path, name: str, seed: int, pooling: gguf.PoolingType) -> gguf.GGUFWriter:
    import gguf

    context_length = 512
    writer = gguf.GGUFWriter(path, "bert")
    _add_shape(writer, name, context_length)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    tokens = _add_letter_tokenizer(writer)
    _add_bert_tensors(Weights(writer, seed), len(tokens), context_length)
    return writer


def _add_shape(writer: gguf.GGUFWriter, name: str, context_length: int) -> None:
    import gguf

    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)


def finish(writer: gguf.GGUFWriter) -> None:
    """Write the file, or the files of a split set, and close."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# tokenizers


def byte_alphabet() -> list[str]:
    """Return the 256 characters that stand for the bytes in a byte-level vocabulary, by byte.

    GPT-2's rule: visible Latin-1 characters stand for themselves, the others for U+0100 onwards.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = (chr(0x100 + number) for number in range(256))
    return [chr(byte) if byte in visible else next(hidden) for byte in range(256)]


def add_byte_tokenizer(writer: gguf.GGUFWriter) -> list[str]:
    ordinary = byte_alphabet() + [merge.replace(" ", "") for merge in _MERGES]
    tokens = ordinary + _CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([_NORMAL_TYPE] * len(ordinary) + [_CONTROL_TYPE] * len(_CONTROL))
    writer.add_token_merges(_MERGES)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    return tokens


def _add_letter_tokenizer(writer: gguf.GGUFWriter) -> list[str]:
    control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    # In a GGUF a word's first piece carries U+2581; WordPiece itself marks the others with ##.
    tokens = control + ["▁" + letter for letter in letters] + list(letters)
    types = [_CONTROL_TYPE, _UNKNOWN_TYPE, _CONTROL_TYPE, _CONTROL_TYPE]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types(types + [_NORMAL_TYPE] * (2 * len(letters)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    return tokens


# weights


class Weights:
    """Adds float32 tensors to a writer, their values drawn from one seeded generator."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        import numpy as np

        self._writer = writer
        self._random = np.random.default_rng(seed)

    def draw(self, *shape: int, scale: float) -> NDArray[np.float32]:
        """Return normally distributed values."""
        import numpy as np

        return (self._random.standard_normal(shape) * scale).astype(np.float32)

    def add(self, name: str, values: NDArray[np.float32]) -> None:
        """Add a tensor as it is."""
        self._writer.add_tensor(name, values)

    def matrix(self, name: str, inputs: int, outputs: int) -> None:
        """Add `name`.weight, scaled so that it keeps about the length of what passes it."""
        self.add(f"{name}.weight", self.draw(outputs, inputs, scale=inputs**-0.5))

    def dense(self, name: str, inputs: int, outputs: int) -> None:
        """Add `name`.weight and `name`.bias."""
        self.matrix(name, inputs, outputs)
        self.add(f"{name}.bias", self.draw(outputs, scale=0.02))

    def norm(self, name: str, *, bias: bool = False) -> None:
        """Add a norm that changes nothing but the length."""
        import numpy as np

        self.add(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
        if bias:
            self.add(f"{name}.bias", np.zeros(WIDTH, dtype=np.float32))


def _add_llama_tensors(weights: Weights, tokens: Sequence[str]) -> None:
    embedding = weights.draw(len(tokens), WIDTH, scale=1.0)
    embedding[:, 0] = 6.0
    weights.add("token_embd.weight", embedding)
    for number in range(BLOCKS):
        block = f"blk.{number}"
        weights.norm(f"{block}.attn_norm")
        for projection in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.matrix(f"{block}.{projection}", WIDTH, WIDTH)
        weights.norm(f"{block}.ffn_norm")
        weights.matrix(f"{block}.ffn_gate", WIDTH, FEED_FORWARD)
        weights.matrix(f"{block}.ffn_up", WIDTH, FEED_FORWARD)
        weights.matrix(f"{block}.ffn_down", FEED_FORWARD, WIDTH)
    weights.norm("output_norm")
    output = weights.draw(len(tokens), WIDTH, scale=0.4)
    output[:, 0] = [2.0 if set(token) <= PRINTABLE else -20.0 for token in tokens]
    weights.add("output.weight", output)


def _add_bert_tensors(weights: Weights, tokens: int, context_length: int) -> None:
    weights.add("token_embd.weight", weights.draw(tokens, WIDTH, scale=1.0))
    weights.add("position_embd.weight", weights.draw(context_length, WIDTH, scale=0.1))
    weights.add("token_types.weight", weights.draw(2, WIDTH, scale=0.1))
    weights.norm("token_embd_norm", bias=True)
    for number in range(BLOCKS):
        block = f"blk.{number}"
        for projection in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.dense(f"{block}.{projection}", WIDTH, WIDTH)
        weights.norm(f"{block}.attn_output_norm", bias=True)
        weights.dense(f"{block}.ffn_up", WIDTH, FEED_FORWARD)
        weights.dense(f"{block}.ffn_down", FEED_FORWARD, WIDTH)
        weights.norm(f"{block}.layer_output_norm", bias=True)
