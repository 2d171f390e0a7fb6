"""Runners as they are shown: what does not change is found once."""

from __future__ import annotations

from pathlib import Path

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import Supervisor
from tests.support.listener import Listener

COVERS = ("runnerd.supervisor.host_reports",)


class Counting(Listener):
    """Says another context each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def context(self, model: str, config: BackendConfiguration) -> int:
        self.asked += 1
        return 4096 * self.asked


async def test_a_context_is_asked_for_once(tmp_path: Path) -> None:
    """It takes looks at the model's files, and everybody who watches asks once a second; the next
    runner of the model is asked about anew.
    """
    directory = RuntimeDirectory(tmp_path / "run")
    directory.prepare()
    backend = Counting()
    supervisor = Supervisor(
        Settings(default_backend=Listener.name),
        {Listener.name: backend},
        Configurations(tmp_path / "configurations.json"),
        directory,
        loaded_as=lambda _: ["m"],
    )
    key = supervisor.keys.key(supervisor.keys.backend(None), "m", BackendMode.COMPLETION)
    (await supervisor.lease(key, "m")).release()
    before = backend.asked
    seen = [supervisor.reports()[0].context for _ in range(3)]
    assert backend.asked == before + 1
    assert seen == [4096 * (before + 1)] * 3
    await supervisor.unloading.unload()
    assert supervisor.reports() == []
    (await supervisor.lease(key, "m")).release()
    assert supervisor.reports()[0].context > seen[0]
    await supervisor.close()
