"""The byte-level BPE of the chat models, trained and applied exactly as llama.cpp applies it.

A text is cut at the special tokens, then by GPT-2's pattern into words (llama.cpp:
`tokenizer.ggml.pre` "gpt-2"), and each word's bytes are joined by the learned merges in the
order in which they were learned.  All 256 bytes are tokens, so any UTF-8 can be read and
spoken.  train.py compares the ids with the engine's own /tokenize over the whole corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import regex  # type: ignore[import-untyped]

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = [END_OF_TEXT, TURN_START, TURN_END]
# Written out by the engine like ordinary text, yet one token each.
MARKERS = [
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
]

_WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_SPECIAL = regex.compile("(" + "|".join(map(regex.escape, CONTROL + MARKERS)) + ")")

Pair = tuple[str, str]


def byte_alphabet() -> list[str]:
    """Return the 256 characters that stand for the bytes, by byte.

    GPT-2's rule: visible Latin-1 characters stand for themselves, the others for U+0100 onwards.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = (chr(0x100 + number) for number in range(256))
    return [chr(byte) if byte in visible else next(hidden) for byte in range(256)]


_ALPHABET = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_ALPHABET)}


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A vocabulary and its merges: the bytes first, then the merges in order, then the specials."""

    merges: Sequence[Pair]
    tokens: list[str] = field(init=False)
    _ids: dict[str, int] = field(init=False, repr=False)
    _ranks: dict[Pair, int] = field(init=False, repr=False)
    _words: dict[str, list[int]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        # Two merges can make one text; llama.cpp aborts on a vocabulary that lists it twice.
        joined = ["".join(pair) for pair in self.merges]
        tokens = list(dict.fromkeys(_ALPHABET + joined + CONTROL + MARKERS))
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "_ids", {token: number for number, token in enumerate(tokens)})
        object.__setattr__(self, "_ranks", {pair: rank for rank, pair in enumerate(self.merges)})

    def id_of(self, special: str) -> int:
        """Return the id of a control token or marker."""
        return self._ids[special]

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; special tokens in it are recognised."""
        ids: list[int] = []
        for part in _SPECIAL.split(text):
            if part in self._ids and _SPECIAL.fullmatch(part):
                ids.append(self._ids[part])
            else:
                for word in _WORD.findall(part):
                    ids += self._encode_word(word)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        characters = "".join(self.tokens[number] for number in ids)
        return bytes(_BYTE_OF[character] for character in characters).decode(errors="replace")

    def _encode_word(self, word: str) -> list[int]:
        if (known := self._words.get(word)) is None:
            symbols = _spell(word)
            while len(symbols) > 1:
                best = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, 1 << 30))
                if best not in self._ranks:
                    break
                symbols = _join(symbols, best)
            known = self._words[word] = [self._ids[symbol] for symbol in symbols]
        return known


def learn(texts: Iterable[str], *, merges: int, least: int) -> Tokenizer:
    """Learn up to `merges` merges from `texts`, none of a pair seen fewer than `least` times."""
    counts: Counter[str] = Counter()
    for text in texts:
        for part in _SPECIAL.split(text):
            if not _SPECIAL.fullmatch(part):
                counts.update(_WORD.findall(part))
    words = {word: _spell(word) for word in counts}
    learned: list[Pair] = []
    while len(learned) < merges:
        pairs: Counter[Pair] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        # The pair itself breaks ties, so that the same texts give the same merges.
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < least:
            break
        learned.append(best)
        words = {word: _join(symbols, best) for word, symbols in words.items()}
    return Tokenizer(learned)


def _spell(word: str) -> list[str]:
    return [_ALPHABET[byte] for byte in word.encode()]


def _join(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined
