"""What is known of a start before anything is started, or stopped, for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.configurations import ConfigurationKey
from runnerd.errors import BackendFailure, InsufficientStorage, InvalidConfiguration, NotSupported
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.configuration_checks import ConfigurationChecks

GIB = 2**30
KEY = ConfigurationKey("b", "m", BackendMode.COMPLETION)
RUNNER = RunnerKey("b", "m", BackendMode.COMPLETION, "")
PLAIN = BackendConfiguration()
LARGE = BackendConfiguration(context_size=2**20)


class Host:
    """A backend and a host with 8 GiB; a plain context takes little, a large one what a test says.

    `doubted` is a configuration that the backend takes for unwise.
    """

    def __init__(self) -> None:
        self.counts = True
        self.least = self.need = GIB
        self.failure: Exception | None = None
        self.doubted: object = None
        self.checks = ConfigurationChecks(cast(Any, {"b": self}), cast(Any, self))

    def devices(self) -> list[Any]:
        return [SimpleNamespace(id="ram", limit=8 * GIB)]

    async def foretell(self, *asked: Any) -> dict[str, int]:
        if self.failure is not None:
            raise self.failure
        return {"ram": self.need}

    def slots(self, configuration: Any) -> tuple[int, ...]:
        return (4, 2)

    def least_memory(self, model: str, configuration: Any, mode: Any) -> int:
        assert configuration.parallel == 2  # as few as it can be started with
        return self.least

    def context(self, model: str, configuration: Any) -> int:
        return configuration.context_size or 4096

    def doubt(self, model: str, configuration: Any) -> str | None:
        return "it is odd" if configuration.context_size == self.doubted else None


@pytest.fixture
def host() -> Host:
    return Host()


async def test_what_fits_is_not_talked_about(host: Host) -> None:
    """Nor what somebody would have to start to know."""
    await host.checks.check(KEY, LARGE, PLAIN)
    host.checks.refuse_absurd(RUNNER, LARGE)
    host.failure = NotSupported("the model is not here")
    await host.checks.check(KEY, LARGE, PLAIN)


async def test_what_no_host_could_hold(host: Host) -> None:
    """With what it takes and what there is; by force it can be set, and never be started."""
    host.least = 9 * GIB
    told = "1048576 tokens for each of 2 requests takes 9.00 GiB, more than the 8.00 GiB"
    with pytest.raises(InvalidConfiguration, match=f"{told}.*--force"):
        await host.checks.check(KEY, LARGE, PLAIN)
    with pytest.raises(InsufficientStorage, match=f"{told}.*nothing was evicted") as refused:
        host.checks.refuse_absurd(RUNNER, LARGE)
    assert refused.value.should_retry is False


async def test_what_would_evict_everybody(host: Host) -> None:
    """Is somebody's to want, who says so; a request is not refused for an estimate."""
    host.need = 9 * GIB
    with pytest.raises(InvalidConfiguration, match=r"9\.00 GiB of ram.*evict all other"):
        await host.checks.check(KEY, LARGE, PLAIN)
    host.checks.refuse_absurd(RUNNER, LARGE)


async def test_what_cannot_be_reckoned_is_told(host: Host) -> None:
    """With the engine's words."""
    host.failure = BackendFailure("no such architecture")
    with pytest.raises(InvalidConfiguration, match="cannot be told: no such architecture"):
        await host.checks.check(KEY, LARGE, PLAIN)


async def test_what_is_as_unwise_already_was_said_then(host: Host) -> None:
    """Another member can be changed without force."""
    host.doubted = 2**20
    with pytest.raises(InvalidConfiguration, match="it is odd; to set it all the same"):
        await host.checks.check(KEY, LARGE, PLAIN)
    await host.checks.check(KEY, LARGE, LARGE)


async def test_a_host_of_which_nothing_is_known(host: Host) -> None:
    """Refuses nothing for want of memory."""
    host.counts, host.least, host.need = False, 9 * GIB, 9 * GIB
    await host.checks.check(KEY, LARGE, PLAIN)
    host.checks.refuse_absurd(RUNNER, LARGE)
