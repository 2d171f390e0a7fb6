"""HAProxy with the repository's file in front of daemons, and clients that count outcomes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
FILE = Path(__file__).parents[2] / "deploy" / "gateway" / "haproxy.cfg"
_LOG = "haproxy.log"
_RETRIED = re.compile(r" \d+/\d+/\d+/\d+/\+?[1-9]\d* \d+/\d+ ")  # of HAProxy's httplog


@contextmanager
def running_haproxy(root: Path, daemons: Sequence[str], models: list[Any]) -> Iterator[str]:
    """Run HAProxy in front of three daemons (HOST:PORT), and return the gateway's address."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed (apt install haproxy)")
    listed = root / "models.json"
    listed.write_text(json.dumps({"object": "list", "data": models}))
    one, two, three = daemons
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        environment = {
            **os.environ,
            "GATEWAY_LISTEN": f"fd@{listener.fileno()}",
            "GATEWAY_MODELS": str(listed),
            **{"DAEMON_ONE": one, "DAEMON_TWO": two, "DAEMON_THREE": three},
        }
        with open(root / _LOG, "wb") as output:
            process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(FILE)],
                env=environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
    try:
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, (root / _LOG).read_text(errors="replace")
    finally:
        process.kill()
        process.wait(60 * SECONDS)


def retried(root: Path) -> int:
    """How many requests HAProxy has sent more than once."""
    return len(_RETRIED.findall((root / _LOG).read_text(errors="replace")))


class People:
    """Clients that ask for streamed chats one after another, and count how each has ended.

    An outcome is `complete` (it counted to the end, and said so), `cut` (the response had begun),
    `refused`, or the status that was not 200; with it what the gateway says of who has responded.
    """

    def __init__(
        self, address: str, models: Sequence[str], *, key: str = "unused", told_in: str = "X-Daemon"
    ) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.begun: Counter[str] = Counter()  # responses under way, by daemon
        self._models = models
        self._told_in = told_in
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(
            base_url=address, headers=headers, timeout=60 * SECONDS, verify=NO_TLS
        )

    @property
    def ended(self) -> int:
        """How many requests have ended, well or not."""
        return self.outcomes.total()

    @asynccontextmanager
    async def asking(self, count: int) -> AsyncIterator[Self]:
        """Have `count` people ask for the length of a with block; those under way end in peace."""
        leaving = asyncio.Event()
        async with self._client:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(self._person(number, leaving))
                try:
                    yield self
                finally:
                    leaving.set()

    async def _person(self, number: int, leaving: asyncio.Event) -> None:
        while not leaving.is_set():
            number += 1
            self.outcomes[await self._ask(self._models[number % len(self._models)])] += 1

    async def _ask(self, model: str) -> tuple[str, str]:
        body = {
            "messages": [{"role": "user", "content": "Count from 3 to 100."}],
            "stream": True,
            "model": model,
        }
        daemon, begun = "", False
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                daemon = response.headers.get(self._told_in, "")
                if response.status_code != 200:
                    return str(response.status_code), daemon
                begun = True
                self.begun[daemon] += 1
                try:
                    lines = [line async for line in response.aiter_lines()]
                finally:
                    self.begun[daemon] -= 1
        except httpx.RemoteProtocolError:
            return "cut" if begun else "refused", daemon
        return "complete" if _is_whole(lines) else "cut", daemon


def _is_whole(lines: Sequence[str]) -> bool:
    if "data: [DONE]" not in lines:
        return False
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return numbers == list(range(3, 101)) and choices[-1]["finish_reason"] == "stop"
