"""The names that a runner answers to: its model's id, and what the user typed, however spelled.

Docker Model Runner's clients spell one model in several ways: `smollm2`, `ai/smollm2`,
`smollm2:latest`, `docker.io/ai/smollm2:latest`.  A runner must know itself under each of them and
under nothing else.  Grammar is not judged here: whatever is no spelling of an own name is another
model.
"""

from __future__ import annotations

from collections.abc import Callable, Container

_HUB = ("docker.io/", "index.docker.io/")
_ALIASES = {"hf.co": "huggingface.co"}
_SHORT_ID = 12  # hexadecimal digits, as listings show them


class ModelNames(Container[str]):
    """The names of one model.  `in` compares spellings, not text.

    `shares` says of any other name whether it is one of a model that the same engine serves.
    """

    def __init__(
        self, model: str, model_ref: str, shares: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._shares = shares
        identifier = model.removeprefix("sha256:")
        self._exact = frozenset({model, model_ref, identifier, identifier[:_SHORT_ID]})
        self._spelled = frozenset({_canonical(model_ref), _canonical(model)})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._exact or _canonical(name) in self._spelled or self._shares(name)
        )


def _canonical(name: str) -> str:
    """Return the long form of a reference; the tag keeps its case."""
    name, _, digest = name.strip(" ").partition("@")
    path, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    repository = f"{path}/{last}".lower().lstrip("/")
    for hub in _HUB:
        repository = repository.removeprefix(hub)
    first, slash, rest = repository.partition("/")
    if not slash:
        repository = f"ai/{repository}"
    elif first in _ALIASES:
        repository = f"{_ALIASES[first]}/{rest}"
    return f"{repository}:{tag or 'latest'}@{digest}" if not digest else f"{repository}@{digest}"
