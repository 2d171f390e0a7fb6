"""What is imported is declared, what is declared is imported, and has its reason in the docs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from typing import Any

from tests.rules.sources import ROOT, sources

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
_REQUIREMENT = re.compile(r"([a-z0-9-]+)(?:\[[a-z,]+\])?>=[0-9.]+")
_BESIDE = {
    "llama-cpp": "llama-cpp-python",
    "prometheus-client": "prometheus-client",
}  # where nothing of an extra is installed
_NAMESPACES = {
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}  # packages that share one name; the longest first


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements name."""
    found = [_REQUIREMENT.fullmatch(each) for each in requirements]
    assert all(found), requirements
    return {match[1] for match in found if match}


def imported() -> Iterator[str]:
    """The packages that the daemon imports, by the names of their distributions."""
    known = packages_distributions()
    for source in sources():
        for node in ast.walk(source.tree):
            for module in modules(node):
                top = module.partition(".")[0]
                if top in _NAMESPACES:
                    yield next(_NAMESPACES[each] for each in _NAMESPACES if module.startswith(each))
                elif top != "runnerd" and top not in sys.stdlib_module_names:
                    plain = top.lower().replace("_", "-")
                    yield _BESIDE.get(plain) or known.get(top, [plain])[0].lower().replace("_", "-")


def modules(node: ast.AST) -> list[str]:
    """What a statement imports, also by `importlib.import_module("...")`."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case ast.Call(
            func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name))]
        ):
            return [name]
    return []


def test_declared_as_used() -> None:
    """Each with a lower bound, which is the lowest version that was tried."""
    assert set(imported()) == names(PROJECT["dependencies"]) | names(EXTRAS)


def test_each_has_its_reason() -> None:
    """A row of the table in docs/architecture.md."""
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## Dependencies")[2]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    told = {name for row in rows for name in row.split(", ")}
    assert names(PROJECT["dependencies"]) | names(EXTRAS) <= told
