"""Which names are ours; who is let in by them is in test_admission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import StartupError
from runnerd.relay.host_names import HostNames, host_of


@pytest.mark.parametrize("entry", ["http://gpu", "gpu:12434", "a b", "*.*", "g*u", "-x", "", "a/b"])
def test_host_pattern_that_would_allow_nothing(entry: str) -> None:
    """It is refused at the start, with a way to write it."""
    with pytest.raises(StartupError, match="allowed_hosts"):
        HostNames([entry])


def test_what_is_told_at_the_start() -> None:
    """The names, short enough for a line of the log."""
    told = str(HostNames(["*.corp.example", "a.example"], ["0.0.0.0", "gpu.example"], "gpu7.lan"))
    for name in ("localhost", "gpu.example", "gpu7.local", "*.corp.example", "any address"):
        assert name in told
    assert "loopback addresses" in str(HostNames())
    assert str(HostNames(["*"])).startswith("any name")


@pytest.mark.parametrize("bound", [[], ["127.0.0.1", "::1", "localhost"]])
def test_loopback_alone_knows_no_other_name(bound: list[str]) -> None:
    """The machine's own name counts where others can use it."""
    names = HostNames([], bound, "gpu7")
    assert "gpu7" not in names
    assert "192.168.1.5" not in names
    assert "127.0.0.1" in names


@given(st.text(max_size=40))
def test_any_header(value: str) -> None:
    """Whatever is sent names something or nothing."""
    assert isinstance(host_of(value) in HostNames(), bool)
