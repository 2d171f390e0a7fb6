"""What stands in an action of a Go template: variables that are set, values, calls and pipes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from runnerd.models.gotemplates.tree import Call, Expression, Field, Literal, TemplateError

DEEPEST = 32
"""How deep blocks, and what stands in parentheses, may lie in each other."""

_LONGEST_NUMBER = 20  # characters
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*") | `(?P<raw>[^`]*)`
    | (?P<number>-?\d+(?:\.\d+)?)(?![\w.])
    | (?P<field>(?:\$\w*)?(?:\.\w+)+ | \$\w* | \.)
    | (?P<word>[A-Za-z_]\w*) | (?P<sign>:=|[()|=,])
    )""",
    re.VERBOSE,
)


class Expressions:
    """Reads what stands in an action."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0
        self._piped = 0  # in the whole statement: what goes through pipes lies in each other, too

    def statement(self) -> tuple[tuple[str, ...], Expression]:
        """Return the variables that are set, if any, and the value."""
        names = self._names()
        value = self._pipe()
        if self._at < len(self._tokens):
            raise self._error()
        return names, value

    def _split(self) -> Iterator[tuple[str, str]]:
        place, source = 0, self._source.rstrip()
        while place < len(source):
            match = _TOKEN.match(source, place)
            if match is None or match.lastgroup is None:
                raise self._error()
            yield match.lastgroup, match[match.lastgroup]
            place = match.end()

    def _error(self) -> TemplateError:
        return TemplateError(f"{{{{ {self._source[:60]} }}}} is not understood")

    def _names(self) -> tuple[str, ...]:
        signs = [text for kind, text in self._tokens if kind == "sign"]
        sign = next((sign for sign in signs if sign in (":=", "=")), None)
        if sign is None:
            return ()
        place = self._tokens.index(("sign", sign))
        names = [text for kind, text in self._tokens[:place] if kind == "field"]
        if not names or any(not re.fullmatch(r"\$\w+", name) for name in names) or len(names) > 2:
            raise self._error()
        self._at = place + 1
        return tuple(names)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _pipe(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error()
        value = self._command(())
        while self._peek() == ("sign", "|"):
            self._at += 1
            self._piped += 1
            if self._piped > DEEPEST:
                raise self._error()
            value = self._command((value,))
        self._depth -= 1
        return value

    def _command(self, last: tuple[Expression, ...]) -> Expression:
        kind, text = self._peek()
        if kind == "word" and text not in ("true", "false", "nil"):
            self._at += 1
            return Call(text, (*self._operands(), *last))
        operands = self._operands()
        if len(operands) != 1 or last:
            raise self._error()
        return operands[0]

    def _operands(self) -> list[Expression]:
        found: list[Expression] = []
        while True:
            kind, text = self._peek()
            if kind == "end" or (kind == "sign" and text != "("):
                return found
            self._at += 1
            found.append(self._operand(kind, text))

    def _operand(self, kind: str, text: str) -> Expression:
        if kind == "sign":
            inner = self._pipe()
            if self._peek() != ("sign", ")"):
                raise self._error()
            self._at += 1
            kind, text = self._peek()
            if kind == "field" and text.startswith(".") and len(text) > 1:
                self._at += 1
                return Field(inner, tuple(text[1:].split(".")))
            return inner
        return self._simple(kind, text)

    def _simple(self, kind: str, text: str) -> Expression:
        if kind == "field":
            base, *path = text.split(".")
            return Field(base, tuple(part for part in path if part))
        if kind == "word":
            if text in ("true", "false", "nil"):
                return Literal({"true": True, "false": False}.get(text))
            return Call(text, ())
        if kind == "number":
            if len(text) > _LONGEST_NUMBER:
                raise self._error()
            return Literal(float(text) if "." in text else int(text))
        if kind == "raw":
            return Literal(text)
        try:
            return Literal(msgspec.json.decode(text, type=str))
        except msgspec.DecodeError as error:
            raise self._error() from error
