"""runnerd.backends.registry: who is found, and who is left out."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from runnerd.backends import registry
from runnerd.backends.interface import BackendContext
from runnerd.backends.registry import GROUP, discover, name_problem
from runnerd.errors import StartupError
from tests.support.engines import context


class ThirdParty:
    """As much of a backend as the registry looks at."""

    name = "third"

    def __init__(self, context: BackendContext) -> None:
        self.context = context


class Liar(ThirdParty):
    name = "llama.cpp"


def failing(context: BackendContext) -> ThirdParty:
    raise RuntimeError("no driver")


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{value}" if ":" not in value else value, GROUP)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that are installed; a test fills the list."""
    import sys

    sys.modules.setdefault(__name__, sys.modules[ThirdParty.__module__])
    installed: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: installed)
    return installed


def test_llama_cpp_is_always_there(points: list[EntryPoint], tmp_path: Path) -> None:
    """Also where nothing is installed, and once where its own entry point is."""
    assert list(discover(lambda name: context(tmp_path))) == ["llama.cpp"]
    points.append(EntryPoint("llama.cpp", "runnerd.backends.llamacpp:LlamaCppBackend", GROUP))
    assert list(discover(lambda name: context(tmp_path))) == ["llama.cpp"]


def test_a_third_party_is_found(points: list[EntryPoint], tmp_path: Path) -> None:
    """An entry point's value is called with the context that belongs to its name."""
    points.append(point("third", "ThirdParty"))
    contexts = {name: context(tmp_path) for name in ("llama.cpp", "third")}
    found = discover(contexts.__getitem__)
    assert isinstance(found["third"], ThirdParty)
    assert found["third"].context is contexts["third"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("broken", "no_such_module:X", "No module named 'no_such_module'"),
        ("broken", "NoSuchName", "NoSuchName"),
        ("broken", "failing", "no driver"),
        ("broken", "Liar", "it calls itself 'llama.cpp'"),
        ("Broken", "ThirdParty", "lower-case"),
        ("../x", "ThirdParty", "lower-case"),
        ("v1", "ThirdParty", "a route of runnerd's own"),
        ("llama.cpp", "ThirdParty", "the name is taken"),
    ],
)
def test_a_broken_one_is_left_out(
    points: list[EntryPoint],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
    reason: str,
) -> None:
    """It is logged with the reason, and the others are there."""
    points += [point(name, value), point("third", "ThirdParty")]
    assert list(discover(lambda name: context(tmp_path))) == ["llama.cpp", "third"]
    assert "left out" in caplog.text
    assert reason in caplog.text


def test_wrong_settings_of_the_built_in_end_the_start(
    points: list[EntryPoint], tmp_path: Path
) -> None:
    """A typing error in the owner's file is told to the owner, not skipped."""
    with pytest.raises(StartupError, match="servr"):
        discover(lambda name: context(tmp_path, servr="native"))


@pytest.mark.parametrize("name", ["llama.cpp", "vllm", "a", "mlx-lm", "x_1", "a" * 32])
def test_good_names(name: str) -> None:
    """Lower case, digits, and . _ - inside."""
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "..", ".a", "a.", "a..b", "a b", "é", "a" * 33, "ps"]
)
def test_bad_names(name: str) -> None:
    """Nothing that could be another path or route."""
    assert name_problem(name) is not None
