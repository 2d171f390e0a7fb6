"""The description of every route."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from runnerd.api.app import make_app
from runnerd.api.context import Context
from runnerd.api.openapi import document
from runnerd.relay.routes import find, templates
from tests.support.policed_relay import INFERENCE, OTHER_APIS

COVERS = ("runnerd.api.app",)

_ROWS = [
    line.split()
    for line in Path("tests/support/route_permissions.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def paths() -> dict[str, dict[str, Any]]:
    """What is described, by path and method."""
    found = document(make_app(cast(Context, object()), OTHER_APIS))
    assert found["openapi"] == "3.1.0"
    paths = found["paths"]
    assert isinstance(paths, dict)
    return paths


def described(paths: dict[str, dict[str, Any]], method: str, path: str) -> list[dict[str, Any]]:
    """The descriptions that fit a request."""
    return [
        operations[method.lower()]
        for template, operations in paths.items()
        if method.lower() in operations
        and re.fullmatch(re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(template)), path)
    ]


@pytest.mark.parametrize(("method", "path", "takes"), _ROWS)
def test_no_route_is_missing(
    paths: dict[str, dict[str, Any]], method: str, path: str, takes: str
) -> None:
    """Each is described with the permission that it takes."""
    found = described(paths, "GET" if method == "HEAD" else method, path)
    found = found or described(paths, method, path)
    assert found, f"{method} {path} is not described"
    permission = None if takes in ("anybody", "admitted") else takes
    assert permission in {operation["x-permission"] for operation in found}


@pytest.mark.parametrize("path", INFERENCE)
def test_inference_is_described(paths: dict[str, dict[str, Any]], path: str) -> None:
    """On every path that the relay knows."""
    assert described(paths, "POST", path)


def test_templates_are_what_the_relay_finds() -> None:
    """Each names the operation that a request on it is."""
    for template, operation in templates().items():
        route = find(template.replace("{backend}", "llama.cpp").replace("{runner}", "0123abcd"))
        assert route is not None, template
        assert route.operation is operation


def test_references_lead_somewhere_and_ids_are_unique() -> None:
    """As tools that read it want."""
    found = document(make_app(cast(Context, object()), OTHER_APIS))
    schemas = found["components"]["schemas"]
    assert all(path.startswith("/") and "{prefix}" not in path for path in found["paths"])
    names = set(re.findall(r"#/components/schemas/(\w+)", str(found)))
    assert names <= set(schemas)
    ids = [each["operationId"] for path in found["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))
    parameters = schemas["Parameters"]["properties"]
    assert {"temperature", "max_tokens", "seed"} <= set(parameters)
