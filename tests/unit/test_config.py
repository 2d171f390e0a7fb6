"""Settings from flags, the environment and a file: what is right, and that nothing wrong is more
than a sentence.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runnerd import config
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.config import Settings
from runnerd.daemon import check
from runnerd.errors import StartupError
from runnerd.limit_settings import Limits
from runnerd.pulls.settings import pull_settings
from runnerd.units import MOST_SECONDS

LISTS = ["allowed_hosts", "allowed_origins", "allowed_sources", "insecure_registries"]
NAMES = [*Settings.model_fields, *(f"limits__{name}" for name in Limits.model_fields)]
FLAGS = ["socket", "listen", "state_dir", "runtime_dir"]


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Have these variables and none other of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNNERD_")}
    with patch.dict(os.environ, {**kept, **variables}, clear=True):
        yield


def loaded(text: str | bytes, folder: Path) -> Settings:
    """Load a settings file."""
    path = folder / "runnerd.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with environment(RUNNERD_CONFIG=str(path)):
        return config.load({})


# what is right


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("localhost", ["localhost"]),
        ("a.example, b.example ,", ["a.example", "b.example"]),
        ('["a.example","b.example"]', ["a.example", "b.example"]),
        ("'a.example'", ["a.example"]),
        ("[]", []),
        ("", []),
        (",", []),
    ],
)
def test_lists_in_variables(name: str, text: str, entries: list[str]) -> None:
    """With commas or as JSON; nothing is the default."""
    with environment(**{f"RUNNERD_{name.upper()}": text}):
        assert getattr(config.load({}), name) == entries


def test_entries_with_ports_and_brackets() -> None:
    """What people set first."""
    with environment(
        RUNNERD_ALLOWED_ORIGINS="http://localhost:3000",
        RUNNERD_INSECURE_REGISTRIES="localhost:5000,[::1]:5000,http://10.0.0.1:5000/",
        RUNNERD_ALLOWED_SOURCES="10.0.0.0/8,[::1]",
    ):
        found = config.load({})
        check(found)
    assert found.allowed_origins == ["http://localhost:3000"]
    assert found.insecure_registries == ["localhost:5000", "[::1]:5000", "10.0.0.1:5000"]


@pytest.mark.parametrize("name", NAMES)
def test_empty_variable_is_the_default(name: str) -> None:
    """As Compose leaves one that nobody set; only `listen` means something when it is empty."""
    with environment():
        default = config.load({})
    with environment(**{f"RUNNERD_{name.upper()}": ""}):
        found = config.load({})
    if name == "listen":
        assert found.listen == ""
    else:
        assert found == default


def test_tables_in_variables() -> None:
    """Member by member, as pairs, or as JSON."""
    with environment(
        RUNNERD_MEMORY_SHARE="ram=0.8, gpu0=0.5",
        RUNNERD_MEMORY_RESERVE='{"default": 7}',
        RUNNERD_LIMITS__HEADERS="9",
        RUNNERD_LIMITS='{"inputs": 3}',
    ):
        found = config.load({})
    assert found.memory_share == {"ram": 0.8, "gpu0": 0.5}
    assert found.memory_reserve == {"default": 7}
    assert (found.limits.headers, found.limits.inputs) == (9, 3)


@pytest.mark.parametrize("text", ["660", "0660", "0o660"])
def test_mode_as_text_is_octal(text: str) -> None:
    """As chmod takes it."""
    with environment(RUNNERD_SOCKET_MODE=text):
        assert config.load({}).socket_mode == 0o660


def test_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors write one."""
    assert loaded(b"\xef\xbb\xbfturn = 7.0\n", tmp_path).turn == 7.0


def test_flag_before_variable_before_file(tmp_path: Path) -> None:
    """The order of sources."""
    (tmp_path / "f.toml").write_text('listen = "[::1]:1"\nturn = 3\nstate_dir = "/f"\n')
    with environment(
        RUNNERD_CONFIG=str(tmp_path / "f.toml"), RUNNERD_LISTEN="[::1]:2", RUNNERD_TURN="4"
    ):
        found = config.load({"listen": "[::1]:3"})
    assert (found.listen, found.turn, found.state_dir) == ("[::1]:3", 4.0, Path("/f"))


# what is wrong


def load_and_check(flags: dict[str, Any]) -> Settings | None:
    """Load as `serve` does and hold the settings against all parts; None: refused in words."""
    try:
        found = config.load(flags)
        check(found)
        pull_settings(found)
        parse_settings(found.backends.get("llama.cpp", {}))
    except StartupError:
        return None
    return found


def numbers(document: Any) -> Iterator[float]:
    """Every number in a document."""
    if isinstance(document, int | float):
        yield document
    elif isinstance(document, dict):
        for each in document.values():
            yield from numbers(each)


NASTY = [
    "0", "-1", "1e400", "nan", "inf", "-inf", "1" * 5000, "9" * 18, "1e12", "true", "null", "[]",
    "{}", "[", "{", '["a", 1]', "[1]", '{"a": 1}',
    '{"llama.cpp": 1}', '{"llama.cpp": {"threads": 1e99}}',
    "[" * 5_000, '{"a":' * 5_000, "*", "a,b", "=", "a=", "=1", "a=b", "ram=nan", "ram=1e400",
    "::", "[::1", "http://", "http://a:99999", "http://[::1", "//", "\x7f", " ", "\ufeff", "é",
    "\udcff",     "a" * 300, "/dev/null", "~", ".", "0o777777777777", "08", "99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_variable_is_taken_or_refused_in_words(name: str) -> None:
    """No text in any variable is more than a sentence, and no number breaks what is shown."""
    for text in NASTY:
        with environment(**{f"RUNNERD_{name.upper()}": text}):
            _hold(load_and_check({}))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    text=st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])),
    deeper=st.sampled_from(["", "__a", "__default", "__a__b", "__llama.cpp__threads"]),
)
@example("backends", "1", "__llama.cpp")
def test_variables_of_any_text(name: str, text: str, deeper: str) -> None:
    """The same for texts that nobody thought of, also inside tables."""
    with environment(**{f"RUNNERD_{name.upper()}{deeper}": text}):
        _hold(load_and_check({}))


@pytest.mark.parametrize("name", FLAGS)
def test_any_flag_is_taken_or_refused_in_words(name: str) -> None:
    """The same for flags."""
    with environment():
        for text in [*NASTY, "\0", "a\0b", ""]:
            _hold(load_and_check({name: text}))


_VALUES = [
    "0", "-1", "1e400", "nan", "inf", "-inf", "9" * 400, "1e12", "true", '""', '"a"', '"\\u0000"',
    "[]", "[1]", '["a"]', '["\\u0000"]', "[[]]", "{}", "{a=1}", '{"llama.cpp"=1}', "1979-05-27",
    '{"llama.cpp"={path="/\\u0000"}}', '{"llama.cpp"={extra_library_path=["/\\u0000"]}}',
    "1979-05-27T07:32:00Z",
    "[" * 5000, "{a=" * 5000, "{ram=nan}", "{ram=inf}", "{ram=-1}", '{"\\u0000"=0.5}',
]  # fmt: skip


@pytest.mark.parametrize("name", [*Settings.model_fields, "limits", "unknown"])
def test_any_file_is_taken_or_refused_in_words(name: str, tmp_path: Path) -> None:
    """The same for values of every type in the file, with and without a byte-order mark."""
    path = tmp_path / "f.toml"
    for value in _VALUES:
        for mark in ("", "\ufeff"):
            path.write_text(f"{mark}{name} = {value}\n")
            with environment(RUNNERD_CONFIG=str(path)):
                _hold(load_and_check({}))


@pytest.mark.parametrize("name", list(Limits.model_fields))
def test_any_limit_in_a_file(name: str, tmp_path: Path) -> None:
    """The same inside the table of limits."""
    path = tmp_path / "f.toml"
    for value in _VALUES:
        path.write_text(f"[limits]\n{name} = {value}\n")
        with environment(RUNNERD_CONFIG=str(path)):
            _hold(load_and_check({}))


def _hold(found: Settings | None) -> None:
    """What was taken has bounded numbers and paths that the system can be asked about."""
    if found is None:
        return
    shown = json.loads(
        found.model_dump_json(exclude={"backends", "state_dir", "runtime_dir", "socket"})
    )
    assert all(math.isfinite(number) and abs(number) <= 2**60 for number in numbers(shown))
    assert found.idle_timeout <= MOST_SECONDS
    for path in (found.state_dir, found.runtime_dir, found.socket_path):
        path.is_absolute()
        assert "\0" not in str(path)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"RUNNERD_LIMITS": "["}, "RUNNERD_LIMITS"),
        ({"RUNNERD_ALLOWED_ORIGINS": "localhost:3000"}, "allowed_origins"),
        ({"RUNNERD_ALLOWED_HOSTS": "http://gpu"}, "allowed_hosts"),
        ({"RUNNERD_IDLE_TIMEOUT": "inf"}, "idle_timeout"),
        ({"RUNNERD_MEMORY_SHARE": "80%"}, "RUNNERD_MEMORY_SHARE"),
        ({"RUNNERD_HUB_ENDPOINT": "hub"}, "hub_endpoint"),
        ({"RUNNERD_SOCKET_MODE": "rw"}, "octal"),
        ({"RUNNERD_LISTEN": "\udcff"}, "listen"),
        ({"HF_ENDPOINT": "hub"}, "hub_endpoint"),
        ({"RUNNERD_CONFIG": "/"}, "folder"),
    ],
)
def test_command_says_what_is_wrong(variables: dict[str, str], told: str, tmp_path: Path) -> None:
    """The real command ends with 1, one message that names the setting, and no traceback."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "runnerd", "serve"),
            *("--state-dir", str(tmp_path / "s"), "--runtime-dir", str(tmp_path / "r")),
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s").exists()


def test_no_home(tmp_path: Path) -> None:
    """A container's user without an entry and a HOME is told what to say."""
    with environment(), patch.object(Path, "home", side_effect=RuntimeError):
        os.environ.pop("XDG_DATA_HOME", None)
        with pytest.raises(StartupError, match="--state-dir"):
            config.load({})
