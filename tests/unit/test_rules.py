"""Each rule about the code sees what it is for."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rules import dead_code, imports, lookups, page, shape, texts, threads, words
from tests.rules.sources import Source

METHODS = "\n".join(f"    def m{number}(self): ..." for number in range(21))


@pytest.fixture
def broken_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], Iterator[str]]], str]:
    """What a rule says of a daemon that is one module, `runnerd/one.py`."""

    def judge(text: str, rule: Callable[[], Iterator[str]]) -> str:
        made = Source(Path("runnerd/one.py"))
        made.__dict__.update(text=text, tree=ast.parse(text))
        for module in (imports, shape, texts, threads, words):
            monkeypatch.setattr(module, "sources", lambda: (made,))
        for module in (shape, dead_code):
            monkeypatch.setattr(module, "listed", lambda name: set[str]())
        return "\n".join(rule())

    return judge


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        ("import subprocess", imports.reserved_names, "uses subprocess"),
        ("def f():\n    from psutil import Process", imports.reserved_names, "uses psutil"),
        (
            "import aiohttp as a\na.ClientSession()",
            imports.reserved_names,
            "uses aiohttp.ClientSession",
        ),
        ("stack.push(asyncio.to_thread, f)", threads.thread_starts, "uses to_thread"),
        ("from asyncio import to_thread as f", threads.thread_starts, "uses to_thread"),
        ("loop.run_in_executor(None, f)", threads.thread_starts, "uses run_in_executor"),
        ("with warnings.catch_warnings(): pass", threads.shared_changes, "uses catch_warnings"),
        ("os.umask(0o077)", threads.shared_changes, "uses umask"),
        ("Path().read_text()", texts.named_encodings, "runnerd/one.py:1: takes its encoding"),
        ("Path().read_text(errors='replace')", texts.named_encodings, "takes its encoding"),
        ("Path().write_text('x')", texts.named_encodings, "takes its encoding"),
        ("open('x')", texts.named_encodings, "takes its encoding"),
        ("open('x', 'w')", texts.named_encodings, "takes its encoding"),
        ("path.open('w')", texts.named_encodings, "takes its encoding"),
        ("os.fdopen(3)", texts.named_encodings, "takes its encoding"),
        ("io.TextIOWrapper(x)", texts.named_encodings, "takes its encoding"),
        ("tempfile.NamedTemporaryFile(mode='w')", texts.named_encodings, "takes its encoding"),
        ("subprocess.run(x, text=True)", texts.named_encodings, "takes its encoding"),
        (f"class Large:\n{METHODS}", shape.methods_of_classes, "Large has 21 methods"),
        ("log.warning('what was said: %s', x)", words.log_subjects, "does not name its subject"),
        ("\n" * 301, shape.lines_of_modules, "has 301 lines, 300 are allowed"),
        ("", shape.modules_have_tests, "runnerd.one has no test_one.py"),
        (
            "# told by the\n# answer of an engine",
            words.answers,
            "runnerd/one.py:1: answer is a verb",
        ),
        ('"""The engine\'s answers."""', words.answers, "the word for what comes back is response"),
        ("answer = 1", words.answers, "the word for what comes back is response"),
        ("def f(answer): ...", words.answers, "the word for what comes back is response"),
        (
            "class A(Protocol):\n    def f(self):\n        return 1",
            shape.modules_have_tests,
            "runnerd.one has no test_one.py",
        ),
        ("_arranger = 1", words.retired_words, "the word is capacity planner"),
        ("# what is redrawn", words.retired_words, "the word is transcode"),
        ('def f():\n    """Return what it is."""', words.docstrings, "Return what"),
    ],
)
def test_a_breach_is_seen(
    broken_by: Callable[[str, Callable[[], Iterator[str]]], str],
    text: str,
    rule: Callable[[], Iterator[str]],
    said: str,
) -> None:
    """And told with its place."""
    assert said in broken_by(text, rule)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Path().read_text('utf-8')", texts.named_encodings),
        ("open('x', 'rb')", texts.named_encodings),
        ("store.open('name')", texts.named_encodings),
        ("subprocess.run(x, text=True, encoding='utf-8')", texts.named_encodings),
        ("import aiohttp\nweb: aiohttp.ClientSession", imports.reserved_names),
        (f"class Fits:\n{METHODS[:-20]}", shape.methods_of_classes),
        ("# wished, suspicious, refraining", words.retired_words),
    ],
)
def test_what_keeps_a_rule(
    broken_by: Callable[[str, Callable[[], Iterator[str]]], str],
    text: str,
    rule: Callable[[], Iterator[str]],
) -> None:
    """Nothing is said of it."""
    assert broken_by(text, rule) == ""


@pytest.mark.parametrize(
    ("path", "text", "own"),
    [
        ("tests/unit/test_keys.py", "from runnerd.relay.keys import K", set()),
        ("tests/unit/test_keys.py", "from runnerd.cli import keys", {"runnerd.cli.keys"}),
        ("tests/unit/test_keys.py", "import runnerd.cli.keys", {"runnerd.cli.keys"}),
        ("tests/unit/test_cli_keys.py", "", {"runnerd.cli.keys"}),
        ("tests/unit/cli/test_keys.py", "", {"runnerd.cli.keys"}),
        ("tests/unit/test_keys_of_others.py", "from runnerd.cli import keys", set()),
    ],
)
def test_whose_a_file_of_tests_is(path: str, text: str, own: set[str]) -> None:
    """Of several modules of one name it is the one's that it imports, or is called after."""
    test = Source(Path(path))
    test.__dict__.update(tree=ast.parse(text))
    modules = [Source(Path(f"runnerd/{folder}/keys.py")) for folder in ("cli", "api")]
    assert {each.module for each in modules if shape.is_own(test, each, shared=True)} == own
    alone = shape.is_own(test, modules[0], shared=False)
    assert alone == (Path(path).stem in ("test_keys", "test_cli_keys"))


def test_what_a_file_of_tests_covers() -> None:
    """It is believed of what it imports, and contradicted of the rest."""
    test = Source(Path("tests/unit/test_keys.py"))
    text = 'from runnerd.cli import keys\nCOVERS = ("runnerd.cli.keys", "runnerd.api.keys")\n'
    test.__dict__.update(tree=ast.parse(text))
    assert shape.covered(test) == shape.Covered({"runnerd.cli.keys"}, ["runnerd.api.keys"])


@pytest.mark.parametrize(
    ("text", "declares"),
    [
        ('class A(Protocol):\n    def f(self):\n        "One."\n        ...', True),
        ("class A:\n    x: int = 1", True),
        ("def f():\n    g()", False),
        ("class A:\n    async def f(self):\n        return 1", False),
        ("f = lambda: 1", False),
        ("", False),
    ],
)
def test_what_only_declares(text: str, declares: bool) -> None:
    """Protocols and settings without a rule of their own are nothing to test."""
    made = Source(Path("runnerd/one.py"))
    made.__dict__.update(tree=ast.parse(text))
    assert shape.only_declares(made) == declares


def test_dead_code_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that nobody calls; a field of a structure is none."""
    (tmp_path / "runnerd").mkdir()
    (tmp_path / "runnerd/one.py").write_text("class A:\n    x = 1\n\ndef dead():\n    A()\n")
    monkeypatch.setattr(dead_code, "ROOT", tmp_path)
    monkeypatch.setattr(dead_code, "sources", lambda: (Source(Path("runnerd/one.py")),))
    monkeypatch.setattr(dead_code, "listed", lambda name: {"runnerd/one.py: gone"})
    assert list(dead_code.unused_code()) == [
        "runnerd/one.py:4: function dead is not used",
        "used_by_others.txt: runnerd/one.py: gone is used, or gone; take it out",
    ]


def test_lookups_past_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that asks the store itself is told whom to ask instead."""
    made = Source(Path("runnerd/api/one.py"))
    made.__dict__.update(text="models = context.store.list()\nsupervisor.reports()\n")
    monkeypatch.setattr(lookups, "sources", lambda: (made,))
    first, second = lookups.lookups()
    assert "one.py:1:" in first
    assert "models_of" in first
    assert "visible_runners" in second


@pytest.mark.parametrize(
    "text",
    [
        "place.innerHTML = answer",
        "place.insertAdjacentHTML('x', answer)",
        "eval(answer)",
        "setTimeout('run()', 1)",
        '<p onclick="run()">',
        '<p style="color: red">',
        "<script>run()</script>",
        '<script src="https://cdn.example/x.js"></script>',
        'import x from "https://cdn.example/x.js"',
        "a { background: url(//x.example/y) }",
        "@import 'x.css'",
    ],
)
def test_what_the_page_must_not_do(text: str) -> None:
    """Elements and code made of texts, and what is fetched from elsewhere."""
    assert list(page.breaches("one", text))


def test_what_the_page_does() -> None:
    """Its own ways keep the rule."""
    text = """<script type="module" src="ui/VERSION/app.js"></script>
    element.textContent = answer; setTimeout(run, 1); curl(body); element.style.width = "1px";
    import { h } from "./dom.js";"""
    assert list(page.breaches("one", text)) == []
