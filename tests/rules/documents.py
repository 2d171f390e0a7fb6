"""The documents for developers name what there is: modules, rooms, classes, imports."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise

from tests.rules.circles import imported
from tests.rules.sources import ROOT, Source, sources

_ARCHITECTURE = "docs/architecture.md"
_PATH = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]*(?:\.[a-z]+)?)`")
_INSIDE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+)` \(`(\w+)(?:\.\w+)?`")
_DEFINED = r"(?:class|def) %s\b|^ *%s *[:=]"
_CLASS = re.compile(r"`([A-Z][a-z]+\w*)(?:\.([a-z_]+))?(?:\(\))?`")
_HEADERS = frozenset({"Warning"})  # of HTTP, and no classes
_CALL = re.compile(r"\b([A-Za-z_]+)\(")
_LABEL = re.compile(r'\["[^"]*"\]')
_GROUND = "ground"  # in the diagram of rooms: these two, and every module that lies in no room
_BELOW = frozenset({"database", "errors"})


def named_paths() -> Iterator[str]:
    """A path in a document or a comment leads to a module, a folder or a file, and a name in
    brackets behind it is in there.
    """
    tops = {each.partition("/")[0] for each in _modules()} | {"tests", "bench", "docs", "systemd"}
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    texts = [(str(page.relative_to(ROOT)), page.read_text()) for page in sorted(pages)]
    texts += [(str(source.path), source.text) for source in sources()]
    for name, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            for path in _PATH.findall(line):
                if path.partition("/")[0] in tops and not _leads_somewhere(path):
                    yield f"{name}:{number}: there is no {path}"
            for path, inside in _INSIDE.findall(line):
                source = _modules().get(path)
                if source is not None and not re.search(
                    _DEFINED.replace("%s", inside), source.text, re.M
                ):
                    yield f"{name}:{number}: there is no {inside} in {path}"


def named_classes() -> Iterator[str]:
    """A class that the architecture names is in the sources, and so is its method."""
    classes = _classes()
    for number, line in enumerate(_architecture().splitlines(), 1):
        for name, member in _CLASS.findall(line):
            if name not in classes.keys() | _HEADERS:
                yield f"{_ARCHITECTURE}:{number}: there is no class {name}"
            elif member and member not in classes[name]:
                yield f"{_ARCHITECTURE}:{number}: {name} has no {member}"


def drawn_calls() -> Iterator[str]:
    """What a diagram calls is a function, a method or a class."""
    known = {
        node.name
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for diagram in _diagrams("sequenceDiagram"):
        for name in _CALL.findall(diagram):
            if name not in known:
                yield f"{_ARCHITECTURE}: a diagram calls {name}(), which there is not"


def rooms_described() -> Iterator[str]:
    """The chapter "Rooms" has a line for each room and each module outside of them, and something
    is said of every folder inside a room.
    """
    text = _architecture()
    chapter = text.partition("## Rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^    ([a-z_]+(?:/?, [a-z_]+)*)/?  ", chapter, re.MULTILINE)
    named = {name for row in rows for name in re.split(r"/?, ", row)}
    for name in sorted(_rooms() - named):
        yield f'{_ARCHITECTURE}: "Rooms" has no line for {name}'
    for name in sorted(named - _rooms() - {"web"}):
        yield f'{_ARCHITECTURE}: "Rooms" has a line for {name}, which there is not'
    for path, source in _modules().items():
        room, _, folder = path.partition("/")
        if source.path.name == "__init__.py" and folder and f"`{path}" not in text:
            if f"`{folder}/`" not in chapter:
                yield f"{_ARCHITECTURE}: nothing is said of {folder} in {room}/"


def drawn_imports() -> Iterator[str]:
    """The diagram of rooms has every room, and an arrow only where one imports another."""
    (diagram,) = _diagrams("flowchart")
    labels = dict(re.findall(r'(\w+)\["([^":]+)', diagram))
    plain = re.sub(r"-\. .*", "", _LABEL.sub("", diagram))  # nor what goes over HTTP
    rooms = {
        node: set(labels.get(node, node).split(", "))
        for node in re.findall(r"\w+", plain.partition("\n")[2])
    }
    rooms[_GROUND] = {name for name in _rooms() if not _is_folder(name)} | _BELOW
    for name in sorted(_rooms() - set(chain.from_iterable(rooms.values()))):
        yield f"{_ARCHITECTURE}: the diagram of rooms lacks {name}"
    graph = _imports_of_rooms()
    for line in plain.splitlines():
        for left, right in pairwise(part.split("&") for part in line.split("-->")):
            for one, other in ((a.strip(), b.strip()) for a in left for b in right):
                if not any(graph[room] & rooms[other] for room in rooms[one] if room in graph):
                    yield f"{_ARCHITECTURE}: {one} --> {other} is drawn, and no import does that"


def front_pages() -> Iterator[str]:
    """A room's docstring that lists its modules lists all of them, and none that is gone."""
    for source in sources():
        if source.path.name != "__init__.py":
            continue
        text = ast.get_docstring(source.tree) or ""
        rows = re.findall(r"^ {,4}([a-z_]+(?:, [a-z_]+)*)  ", text, re.MULTILINE)
        named = {name for row in rows for name in row.split(", ")}
        told = named | set(re.findall(r"`([a-z_]+)`", text))
        inside = {
            each.path.stem
            for each in sources()
            if each.path.parent == source.path.parent and each is not source
        }
        for name in sorted(inside - told) if named else ():
            yield f"{source.path}: the list of modules lacks {name}"
        for name in sorted(named - inside):
            yield f"{source.path}: the list of modules has {name}, which there is not"


@cache
def _modules() -> dict[str, Source]:
    """Modules by the path that documents call them by: without the package's name."""
    return {each.module.removeprefix("runnerd.").replace(".", "/"): each for each in sources()}


@cache
def _rooms() -> frozenset[str]:
    """Every name below `runnerd`, as the contract has them that orders all of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return frozenset(name for layer in layers for name in layer.split(" | "))


@cache
def _classes() -> dict[str, set[str]]:
    """What each class has, by its name; several of one name together."""
    found: dict[str, set[str]] = {}
    for source in sources():
        for node in source.classes():
            found.setdefault(node.name, set()).update(_members(node))
    return found


@cache
def _imports_of_rooms() -> dict[str, set[str]]:
    names = {source.module for source in sources()}
    graph: dict[str, set[str]] = {name: set() for name in _rooms()}
    for path, source in _modules().items():
        others = {each.split(".")[1] for each in imported(source, names) if "." in each}
        graph.get(path.partition("/")[0], set()).update(others)
    return graph


@cache
def _architecture() -> str:
    return (ROOT / _ARCHITECTURE).read_text()


def _diagrams(kind: str) -> list[str]:
    found = re.findall(r"^```mermaid\n(.*?)^```", _architecture(), re.MULTILINE | re.DOTALL)
    return [each for each in found if each.startswith(kind)]


def _is_folder(room: str) -> bool:
    return any(path.startswith(f"{room}/") for path in _modules())


def _leads_somewhere(path: str) -> bool:
    plain = path.removesuffix("/").removeprefix("runnerd/")
    ends = (plain, f"{plain}.py")
    return plain in _modules() or any((root / end).exists() for root in _ROOTS for end in ends)


def _members(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each.name
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield each.target.id


_ROOTS = (ROOT, ROOT / "runnerd")
