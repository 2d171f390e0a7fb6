"""`/metrics` of a real daemon, and the dashboard and alert rules that read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.daemon import DaemonProcess, running
from tests.support.members import Member
from tests.support.waiting import wait_for

DEPLOY = Path("deploy")
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 3}

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="apt install prometheus")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon that has answered, refused, loaded, unloaded and failed."""
    folder = tmp_path_factory.mktemp("metrics")
    with running(folder / "d") as daemon:
        for name in ("tiny", "embed"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        chat = "/v1/chat/completions"
        for extra in ({}, {"stream": True}, {"max_tokens": "many"}):
            daemon.http.post(chat, json=CHAT | extra, headers={"X-Request-Origin": "test"})
        daemon.http.post("/engines/unload", json={"models": ["tiny"]}).raise_for_status()
        wait_for(lambda: not daemon.ps(), "the runner's end")
        daemon.http.post("/v1/embeddings", json={"model": "embed", "input": "a"})
        yield daemon


def scraped(daemon: DaemonProcess) -> list[Sample]:
    response = daemon.http.get("/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return [sample for family in families for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.engine
def test_what_is_measured(daemon: DaemonProcess) -> None:
    """Requests, times, tokens, loads, stops, memory, devices, the loop, and the engine's own."""
    samples = scraped(daemon)
    tiny = {"gen_ai_request_model": "ai/tiny:latest", "gen_ai_operation_name": "chat"}
    requests = {"origin": "test", "principal": "owner", "operation": "chat/completions"}
    assert value(samples, "runnerd_requests_total", **requests, status="200") == 2
    assert value(samples, "runnerd_requests_total", **requests, status="400") == 1
    assert value(samples, "gen_ai_server_request_duration_seconds_count", **tiny) >= 2
    assert value(samples, "gen_ai_server_time_to_first_token_seconds_count", **tiny) == 1
    assert value(samples, "gen_ai_server_time_per_output_token_seconds_count", **tiny) == 1
    usage = "gen_ai_client_token_usage_sum"
    assert value(samples, usage, **tiny, gen_ai_token_type="output") == 6
    assert value(samples, usage, **tiny, gen_ai_token_type="input") > 0
    assert value(samples, "runnerd_queue_wait_seconds_count", **tiny) >= 2
    model = {"model": "ai/tiny:latest"}
    assert value(samples, "runnerd_loads_total", **model) == 1
    assert value(samples, "runnerd_load_duration_seconds_count", **model) == 1
    assert value(samples, "runnerd_stops_total", **model, reason="unloaded") == 1
    embed = {"model": "ai/embed:latest", "mode": "embedding"}
    assert value(samples, "runnerd_runners", **embed, state="ready") == 1
    assert value(samples, "runnerd_model_memory_bytes", **embed, kind="reserved") > 0
    assert value(samples, "runnerd_device_memory_bytes", device="ram", kind="total") > 0
    assert {sample.labels["kind"] for sample in samples if "event_loop" in sample.name} == {
        "latest", "worst",
    }  # fmt: skip
    assert value(samples, "runnerd_sessions") == 0
    assert "runnerd_jobs" in daemon.http.get("/metrics").text
    own = [sample for sample in samples if sample.name.startswith("llamacpp:")]
    assert {sample.labels["model"] for sample in own} == {"ai/embed:latest"}
    assert value(samples, "process_resident_memory_bytes") > 0


@pytest.mark.engine
def test_who_may_read_them(tmp_path: Path, gguf: Path) -> None:
    """Whoever may see all models; owners alone, or nobody, where the owner says so."""
    settings = tmp_path / "runnerd.toml"
    settings.write_text("")
    with running(tmp_path / "d", "--config", str(settings)) as daemon:
        everything = Member(daemon, "ann", may=["view_llms"])
        some = Member(daemon, "ben", may=["view_llms"], models=["other"])
        nothing = Member(daemon, "cyd", may=["session"])

        def statuses() -> list[int]:
            clients = (daemon.http, everything.http, some.http, nothing.http)
            return [client.get("/metrics").status_code for client in clients]

        assert statuses() == [200, 200, 403, 403]
        settings.write_text('metrics = "owners"')
        daemon.reload()
        assert statuses() == [200, 403, 403, 403]
        settings.write_text('metrics = "off"')
        daemon.reload()
        assert statuses() == [404, 404, 404, 403]
        for member in (everything, some, nothing):
            member.http.close()


def expressions() -> list[str]:
    """Every expression of the dashboard, its variables filled in."""
    dashboard: dict[str, Any] = json.loads((DEPLOY / "grafana/runnerd.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [
        each.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$model", ".*")
        for each in found
    ]


@pytest.mark.engine
def test_dashboard_and_alerts_ask_for_what_there_is(daemon: DaemonProcess) -> None:
    """Each series that they name is one of the daemon's."""
    text = daemon.http.get("/metrics").text
    there = {sample.name for sample in scraped(daemon)} | set(re.findall(r"# TYPE (\S+)", text))
    rules = (DEPLOY / "prometheus/alerts.yml").read_text()
    named = re.findall(
        r"\b(?:runnerd_|gen_ai_|llamacpp:)\w+(?=[{\[])", " ".join(expressions()) + rules
    )
    assert len(set(named)) > 15
    for name in set(named):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert {name, base, base.removesuffix("_total")} & there, name


@needs_promtool
@pytest.mark.engine
def test_promtool_takes_all_of_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The text, the rules with their own tests, and the dashboard's expressions."""
    assert promtool is not None
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=daemon.http.get("/metrics").content,
        capture_output=True,
    )
    complaints = [line for line in checked.stderr.decode().splitlines() if "llamacpp:" not in line]
    assert complaints == [], complaints  # llama.cpp's names have colons
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        subprocess.run([promtool, *command], cwd=DEPLOY / "prometheus", check=True)
    rules = [{"record": f"r:{number}", "expr": each} for number, each in enumerate(expressions())]
    group = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "dashboard.yml").write_text(json.dumps(group))  # JSON is YAML
    subprocess.run([promtool, "check", "rules", str(tmp_path / "dashboard.yml")], check=True)
