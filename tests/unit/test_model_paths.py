"""Where the API has a model."""

from __future__ import annotations

import pytest

from runnerd.cli.model_paths import model_path, tag_query


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("smollm2", "/models/smollm2"),
        ("ai/smollm2:135M", "/models/ai%2Fsmollm2%3A135M"),
        ("purge", "/models/purge%3Alatest"),
        ("pulls", "/models/pulls%3Alatest"),
        ("../engines/unload?all", "/models/..%2Fengines%2Funload%3Fall"),
        ("ü", "/models/%C3%BC"),
    ],
)
def test_a_name_is_one_part_of_a_path(name: str, path: str) -> None:
    """Whatever it is: `DELETE /models/purge` would remove every model."""
    assert model_path(name) == path


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("x", "repo=x&tag=latest"),
        ("ai/x:v1", "repo=ai%2Fx&tag=v1"),
        ("localhost:5000/x", "repo=localhost%3A5000%2Fx&tag=latest"),
        ("localhost:5000/x:v1", "repo=localhost%3A5000%2Fx&tag=v1"),
        ("a&b=c:d", "repo=a%26b%3Dc&tag=d"),
    ],
)
def test_a_name_is_repository_and_tag(name: str, query: str) -> None:
    """A port is no tag."""
    assert tag_query(name) == query
