"""Trained parameters as GGUF files that llama.cpp serves.

The parameters already have llama.cpp's names and layouts, so writing them is a copy; what the
engine does differently from the training is folded into the numbers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
from encoder import CONTROL as ENCODER_CONTROL
from encoder import EncoderShape, WordPieces
from llama import EPSILON, Shape
from numpy.typing import NDArray
from tokenizer import CONTROL, END_OF_TEXT, MARKERS, TURN_END, Tokenizer

Arrays = Mapping[str, NDArray[np.float32]]
CONTEXT_LENGTH = 2048


def write_chat_model(
    path: Path, *, name: str, shape: Shape, tokenizer: Tokenizer, template: str, arrays: Arrays
) -> None:
    """Write a decoder with its vocabulary and chat template."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, name, CONTEXT_LENGTH, shape.width, shape.blocks, shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    # Without a temperature in the request the answers are the learned ones too.
    writer.add_sampling_temp(0.0)
    _add_byte_pairs(writer, tokenizer)
    writer.add_chat_template(template)
    # llama.cpp does not scale embeddings, and the output matrix is the same one: scale it, and take
    # the factor out again in the norm before the output.
    scale = np.float32(shape.width**0.5)
    folded = dict(arrays)
    folded["token_embd.weight"] = arrays["token_embd.weight"] * scale
    folded["output_norm.weight"] = arrays["output_norm.weight"] / scale
    _finish(writer, folded)


def write_encoder(
    path: Path, *, name: str, shape: EncoderShape, pieces: WordPieces, rank: bool, arrays: Arrays
) -> None:
    """Write a BERT encoder that pools to an embedding, or with `rank` to one score."""
    writer = gguf.GGUFWriter(path, "bert")
    _describe(writer, name, shape.positions, shape.width, shape.blocks, shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if rank else gguf.PoolingType.MEAN)
    _add_word_pieces(writer, pieces)
    _finish(writer, arrays)


def _describe(
    writer: gguf.GGUFWriter, name: str, context: int, width: int, blocks: int, hidden: int
) -> None:
    writer.add_name(name)
    writer.add_description("Made by runnerd's training/train.py; see demo/README.md")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(hidden)


def _add_byte_pairs(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    tokens = tokenizer.tokens
    kinds = dict.fromkeys(tokens, gguf.TokenType.NORMAL)
    kinds |= dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(MARKERS, gguf.TokenType.USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kinds[token]) for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.id_of(END_OF_TEXT))
    writer.add_eos_token_id(tokenizer.id_of(TURN_END))
    writer.add_pad_token_id(tokenizer.id_of(END_OF_TEXT))
    writer.add_add_bos_token(False)


def _add_word_pieces(writer: gguf.GGUFWriter, pieces: WordPieces) -> None:
    kinds = [gguf.TokenType.NORMAL] * len(pieces.tokens)
    for number, token in enumerate(ENCODER_CONTROL):
        unknown = token == "[UNK]"
        kinds[number] = gguf.TokenType.UNKNOWN if unknown else gguf.TokenType.CONTROL
    writer.add_tokenizer_model("bert")
    writer.add_token_list(pieces.tokens)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_type_count(1)
    writer.add_pad_token_id(pieces.id_of("[PAD]"))
    writer.add_unk_token_id(pieces.id_of("[UNK]"))
    writer.add_bos_token_id(pieces.id_of("[CLS]"))
    writer.add_sep_token_id(pieces.id_of("[SEP]"))
    writer.add_eos_token_id(pieces.id_of("[SEP]"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    # By default the engine puts two [SEP] between a question and a document; the training puts one.
    writer.add_add_sep_token(False)


def _finish(writer: gguf.GGUFWriter, arrays: Arrays) -> None:
    for name, values in arrays.items():
        writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
