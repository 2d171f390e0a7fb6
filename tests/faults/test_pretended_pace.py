"""Who asks quickly what costs nothing earns no places for what takes long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.kinds import Size, write_kind
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for
from tests.support.wire import Wire, post

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SLOW = Size(width=256, blocks=8, heads=4, feed_forward=256)
ONE = {"model": "slow", "prompt": "hq zk", "max_tokens": 1}
LONG = ONE | {"max_tokens": 6000, "ignore_eos": True}
SLOTS = 4
QUICK: dict[str, tuple[str, dict[str, Any], int]] = {
    "tokens": ("/v1/tokenize", {"model": "slow", "content": "x"}, 200),
    "refused": ("/v1/completions", ONE | {"grammar": "root ::= ("}, 400),
    "one token": ("/v1/completions", ONE, 200),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    root = tmp_path_factory.mktemp("pace")
    write_kind(root / "slow.gguf", "llama", context_length=8192, size=SLOW)
    settings = {"llama.cpp": {"threads": 1, "memory_reserve": 16, "parallel": SLOTS}}
    with running(root, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(root / "slow.gguf", "slow")
        yield daemon


@pytest.mark.parametrize("kind", QUICK)
def test_a_flood_of_quick_requests_takes_no_place_that_others_want(
    daemon: DaemonProcess, kind: str
) -> None:
    """Whoever shares a model leaves a slot for the next one, whatever it made of its engine."""
    path, body, status = QUICK[kind]
    names = [f"{who}-{kind.replace(' ', '-')}" for who in ("greedy", "person")]
    with ExitStack() as stack:
        greedy, person = (stack.enter_context(daemon.stranger(name)) for name in names)
        assert person.post("/v1/completions", json=ONE).status_code == 200
        key = greedy.headers["Authorization"]

        def flood() -> set[int]:
            with httpx.Client(
                base_url=daemon.address, headers={"Authorization": key}, verify=NO_TLS
            ) as http:
                return {http.post(path, json=body, timeout=60).status_code for _ in range(40)}

        wires = [stack.enter_context(Wire(daemon.address)) for _ in range(2 * SLOTS)]
        long = post("/v1/completions", LONG, f"Authorization: {key}")
        pool = stack.enter_context(ThreadPoolExecutor(12))
        floods: list[Future[set[int]]] = [pool.submit(flood) for _ in range(12)]
        for each in floods:
            assert each.result() == {status}
        for wire in wires:  # at once: what is quick is forgotten within half a second
            wire.send(long)
        asked = len(wires)
        wait_for(
            lambda: sum(runner["requests"] + runner["waiting"] for runner in daemon.ps()) == asked,
            "the long requests to be there",
        )
        assert daemon.ps()[0]["requests"] < SLOTS
        assert person.post("/v1/completions", json=ONE).status_code == 200
        assert daemon.ps()[0]["waiting"] >= asked - SLOTS + 1, "they have been answered meanwhile"
    wait_for(lambda: not daemon.ps()[0]["in_use"], "the engine to be left alone")
