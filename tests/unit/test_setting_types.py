"""What the values of settings may be, and what is said of those that they may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from runnerd.setting_types import LowerCase, Registry, SocketMode, WebAddress, check_text

REGISTRY: TypeAdapter[str] = TypeAdapter(Registry)
ADDRESS: TypeAdapter[str] = TypeAdapter(WebAddress)
MODE: TypeAdapter[int] = TypeAdapter(SocketMode)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("localhost:5000", "localhost:5000"),
        ("https://registry.example/", "registry.example"),
        (" [::1]:5000 ", "[::1]:5000"),
    ],
)
def test_registries_are_hosts_however_they_are_written(said: str, meant: str) -> None:
    assert REGISTRY.validate_python(said) == meant


@pytest.mark.parametrize("said", ["", "a/b", "a b", "host:port", "https://"])
def test_what_is_no_registry(said: str) -> None:
    with pytest.raises(ValidationError, match="write it as HOST or HOST:PORT"):
        REGISTRY.validate_python(said)


def test_addresses_of_the_web() -> None:
    for said in ("", "https://example.org", "http://localhost:80/x"):
        assert ADDRESS.validate_python(said) == said
    for said in ("example.org", "ftp://example.org", "http://", "http://a b", "http://a:99999"):
        with pytest.raises(ValidationError):
            ADDRESS.validate_python(said)


def test_modes_are_octal_text_or_numbers_of_a_socket() -> None:
    assert [MODE.validate_python(said) for said in ("0660", 0o600, 0o777)] == [0o660, 0o600, 0o777]
    for wrong in ("rw", 0o1000, "1000", -1):
        with pytest.raises(ValidationError, match="octal"):
            MODE.validate_python(wrong)


@pytest.mark.parametrize(
    "said", ["a\nb", "\x00", "\ud800", {"a\x7f": 1}, ["x", ["\x1b"]], Path("\n")]
)
def test_text_that_no_file_name_or_log_can_hold(said: object) -> None:
    with pytest.raises(ValueError, match="is not plain text"):
        check_text(said)


def test_text_that_passes() -> None:
    check_text({"name": ["Größe", 5, None, Path("/tmp/x")]})
    assert TypeAdapter(LowerCase).validate_python("INFO") == "info"
