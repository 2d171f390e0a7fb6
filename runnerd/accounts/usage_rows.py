"""Usage as rows of the database: one for each day, principal and model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runnerd.database import Connection


class UsageKey(NamedTuple):
    """What is counted together: a day since 1970 in UTC, a principal's id and a model's."""

    day: int
    principal: str
    model: str


@dataclass(slots=True)
class Counts:
    """Requests and tokens."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def include(self, other: Counts) -> None:
        """Count what another one has counted."""
        self.requests += other.requests
        self.failures += other.failures
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens


class Used(NamedTuple):
    """What one principal, one model or one day took.  `id` is a principal's, a model's name, or the
    day; `called` what people call it.
    """

    id: str | int
    called: str
    requests: int
    failures: int
    prompt_tokens: int
    completion_tokens: int


_OF = {"user": "principal, who", "model": "model_name, model_name", "day": "day, day"}
_ORDER = {"day": "day DESC"}
_MOST = 10_000  # lines of a report
MOST_LINES = 10_000  # of one day
OTHERS = "others"  # whom there is no room for
_ADD = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, principal, model) DO UPDATE SET
    who = iif(excluded.who = principal, who, excluded.who),
    model_name = iif(excluded.model_name = model, model_name, excluded.model_name),
    requests = requests + excluded.requests,
    failures = failures + excluded.failures,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens
"""  # what is gone and has no name any more keeps the one that it had


def add(
    connection: Connection,
    counts: Mapping[UsageKey, Counts],
    who: Mapping[str, str],
    models: Mapping[str, str],
) -> None:
    """Add to what was counted before; `who` and `models` are what ids are called now.

    A day has a bound: whom there is no line for any more is counted with others.
    """
    full = {day for day in {key.day for key in counts} if _lines(connection, day) >= MOST_LINES}
    values = []
    for key, each in counts.items():
        name = who[key.principal]
        if key.day in full and not _is_there(connection, key):
            key, name = key._replace(principal=OTHERS), OTHERS
        tokens = each.prompt_tokens, each.completion_tokens
        values.append((*key, name, models[key.model], each.requests, each.failures, *tokens))
    connection.executemany(_ADD, values)


def _lines(connection: Connection, day: int) -> int:
    found = connection.execute("SELECT count(*) FROM usage WHERE day = ?", (day,))
    return int(found.fetchone()[0])


def _is_there(connection: Connection, key: UsageKey) -> bool:
    found = connection.execute(
        "SELECT 1 FROM usage WHERE day = ? AND principal = ? AND model = ?", key
    )
    return found.fetchone() is not None


def forget_before(connection: Connection, day: int) -> None:
    """Remove what is older."""
    connection.execute("DELETE FROM usage WHERE day < ?", (day,))


def report(
    connection: Connection, by: str, first: int, last: int, principal: str | None
) -> list[Used]:
    """Sums of some days, by "user", "model" or "day"; of one principal or of all."""
    of = _OF[by]
    order = _ORDER.get(by, "sum(prompt_tokens) + sum(completion_tokens) DESC, sum(requests) DESC")
    # What it is called is taken from the row with the newest day: SQLite promises that of max().
    found = connection.execute(
        f"SELECT {of}, sum(requests), sum(failures), sum(prompt_tokens), sum(completion_tokens),"
        " max(day) FROM usage WHERE day BETWEEN ? AND ? AND (? IS NULL OR principal = ?)"
        f" GROUP BY 1 ORDER BY {order} LIMIT {_MOST}",
        (first, last, principal, principal),
    )
    return [Used(row[0], str(row[1]), *row[2:6]) for row in found]


def tokens(connection: Connection, day: int) -> dict[str, int]:
    """The tokens of each principal on one day."""
    found = connection.execute(
        "SELECT principal, sum(prompt_tokens) + sum(completion_tokens) FROM usage"
        " WHERE day = ? GROUP BY principal",
        (day,),
    )
    return dict(found.fetchall())
