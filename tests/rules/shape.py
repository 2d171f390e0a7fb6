"""How large a class may be, and where its test is."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.rules.circles import imported
from tests.rules.sources import ROOT, Source, listed, sources

MOST_METHODS = 20
MOST_LINES = 300
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def methods_of_classes() -> Iterator[str]:
    """A class has at most 20 methods; one that needs more has two jobs."""
    known = listed("large_classes.txt")
    large = set()
    for source in sources():
        for each in source.classes():
            methods = [
                node
                for node in each.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            if len(methods) <= MOST_METHODS:
                continue
            name = f"{source.module}.{each.name}"
            large.add(name)
            if name not in known:
                yield f"{name} has {len(methods)} methods, {MOST_METHODS} are allowed"
    for name in sorted(known - large):
        yield f"large_classes.txt: {name} is not large any more; take it out"


def lines_of_modules() -> Iterator[str]:
    """A module has at most 300 lines; one that needs more has two jobs, or is listed as one job."""
    known = listed("long_modules.txt")
    lengths = {source.module: len(source.text.splitlines()) for source in sources()}
    long = {module: lines for module, lines in lengths.items() if lines > MOST_LINES}
    for module in sorted(long.keys() - known):
        yield f"{module} has {long[module]} lines, {MOST_LINES} are allowed; split it by its nouns"
    for module in sorted(known - long.keys()):
        yield f"long_modules.txt: {module} is not long any more; take it out"


def modules_have_tests() -> Iterator[str]:
    """A module x has a file test_x, or is on the list of those that others test.

    A file of tests may cover more than the module of its name: then it says so, and imports them
    (`COVERS`).  What only declares, protocols and settings without a rule, has nothing to test.

    Several modules may have one name, in different folders.  The file is one's own where it imports
    that one (or takes it from its folder's front page), lies in a folder of that name, or has the
    folder in its name: test_folder_x.
    """
    known = listed("tested_by_others.txt")
    tests = tuple(Source(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    modules = [
        source for source in sources() if source.path.name not in ("__init__.py", "__main__.py")
    ]
    homonyms = Counter(source.path.stem for source in modules)
    without = {
        source.module
        for source in modules
        if not only_declares(source)
        and not any(is_own(test, source, shared=homonyms[source.path.stem] > 1) for test in tests)
    }
    for test in tests:
        told = covered(test)
        yield from (f"{test.path}: covers {each}, but does not import it" for each in told.unseen)
        without -= told.seen
    for name in sorted(without - known):
        yield f"{name} has no test_{name.rpartition('.')[2]}.py of its own"
    for name in sorted(known - without):
        yield f"tested_by_others.txt: {name} has its own test now, or is gone; take it out"


@dataclass(frozen=True, slots=True)
class Covered:
    """The modules that a file of tests says it covers: those it imports, and those it does not."""

    seen: set[str]
    unseen: list[str]


def covered(test: Source) -> Covered:
    """What a file of tests says in `COVERS`, a tuple of modules' names."""
    told: set[str] = set()
    for node in test.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COVERS":
            told |= set(ast.literal_eval(node.value))
    seen = {each for each in told if imported(test, {each, *_front_page(each)})}
    return Covered(seen, sorted(told - seen))


def _front_page(module: str) -> set[str]:
    """The folder of a module, where its front page hands on what is in the module."""
    folder = module.rpartition(".")[0]
    page = next((each for each in sources() if each.module == folder), None)
    return {folder} if page and imported(page, {module}) else set()


def only_declares(source: Source) -> bool:
    """Whether a module has types, and nothing that is done; a text may be a script."""
    functions = [node for node in ast.walk(source.tree) if isinstance(node, _FUNCTIONS)]
    lambdas = any(isinstance(node, ast.Lambda) for node in ast.walk(source.tree))
    return any(source.classes()) and not lambdas and all(map(_is_empty, functions))


def _is_empty(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function has only a docstring, or `...`."""
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in function.body
    )


def is_own(test: Source, source: Source, *, shared: bool) -> bool:
    """Whether a file of tests is a module's own; `shared`: others have its name, too."""
    stem, folder = source.path.stem, source.path.parent.name
    if test.path.stem == f"test_{folder}_{stem}":
        return True
    if test.path.stem != f"test_{stem}":
        return False
    if not shared or folder in test.path.parts:
        return True
    package = source.module.rpartition(".")[0]
    return bool(imported(test, {source.module, package}))
