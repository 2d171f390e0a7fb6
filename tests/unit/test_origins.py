"""Patterns of origins; whom they let in over the wire is in test_browsers."""

from __future__ import annotations

import pytest

from runnerd.errors import StartupError
from runnerd.relay.origins import Origins, is_program


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["https://a.example", "null", "chrome-extension://x"], []),
        ("chrome-extension://*", ["chrome-extension://abc"], ["moz-extension://abc", "https://x"]),
        ("http://gpu:*", ["http://gpu", "http://gpu:1"], ["https://gpu", "http://gpu.evil.com"]),
        ("https://*.a.example", ["https://b.a.example"], ["https://a.example", "http://b.a.example",
                                                          "https://b.a.example:8443"]),
        ("https://a.example:443/", ["https://a.example"], ["https://a.example:444"]),
        ("HTTPS://A.example:8443", ["https://a.example:8443"], ["https://a.example"]),
        ("http://*", ["http://x", "http://x:3"], ["https://x"]),
        ("http://[fd00::1]:*", ["http://[fd00::1]:9"], ["http://[fd00::2]:9"]),
        ("null", ["null"], ["https://null"]),
    ],
)  # fmt: skip
def test_patterns_mean_what_they_say(pattern: str, yes: list[str], no: list[str]) -> None:
    """Each allows what it shows and nothing else."""
    origins = Origins([pattern], local=False)
    assert [origin for origin in yes if not origins.allows(origin, None)] == []
    assert [origin for origin in no if origins.allows(origin, None)] == []


@pytest.mark.parametrize(
    "entry",
    [
        "localhost:3000",
        "https://a/b",
        "https://a*",
        "*://a",
        "https://",
        "https://a:b",
        "a b",
        "//",
    ],
)
def test_pattern_that_would_allow_nothing(entry: str) -> None:
    """It is refused at the start, with a way to write it."""
    with pytest.raises(StartupError, match="allowed_origins"):
        Origins([entry])


@pytest.mark.parametrize(
    ("origin", "program"),
    [
        ("chrome-extension://a", True), ("app://x", True), ("https://a.example", False),
        ("http://localhost:3000", False), ("null", False), ("file://", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_a_program(origin: str, program: bool) -> None:
    """What no web site can be."""
    assert is_program(origin) is program
