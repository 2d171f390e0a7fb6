"""Requests, logs, sessions and jobs on the page."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess

LONG = {"model": "tiny", "prompt": "x", "max_tokens": 8000, "ignore_eos": True, "stream": True}


@contextmanager
def long_request(daemon: DaemonProcess, **headers: str) -> Iterator[list[str]]:
    """A completion that runs until somebody ends it; its lines."""
    lines: list[str] = []

    def ask() -> None:
        with (
            daemon.client() as client,
            client.stream("POST", "/v1/completions", json=LONG, headers=headers) as response,
        ):
            lines.extend(response.iter_lines())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lines
    finally:
        daemon.http.post("/engines/unload", json={"all": True, "force": True})
        thread.join()


def test_a_running_request_is_cancelled(page: Page, daemon: DaemonProcess) -> None:
    """It is there with its origin, is cancelled, and its client is told."""
    with long_request(daemon, **{"X-Request-Origin": "Tester"}) as lines:
        table = page.get_by_role("table", name="Running requests")
        expect(table).to_contain_text("Tester")
        table.get_by_role("button", name="Cancel request").click()
        told(page, "cancelled")
        expect(page.get_by_text("No request is running")).to_be_visible()
    assert any("request_cancelled" in line for line in lines)


def test_tokens_per_second_while_a_stream_runs(page: Page, daemon: DaemonProcess) -> None:
    """Of the runner and in the sum, before any response has ended; the sum ends with the stream."""
    figure = page.locator("dl.figures div").filter(has_text="Tokens per second").locator("dd")
    with long_request(daemon):
        expect(figure).to_have_text(re.compile("[1-9]"))
        row = page.get_by_role("table", name="Loaded models").get_by_role("row").last
        expect(row.locator("[data-label='Tokens/s']")).to_have_text(re.compile("[1-9]"))
    expect(figure).to_have_text("0")


def test_a_client_that_has_left(page: Page, daemon: DaemonProcess) -> None:
    """It is no success, and no failure of the daemon's either."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        next(response.iter_lines())
    go(page, "Requests")
    expect(page.get_by_role("row").nth(1)).to_contain_text("client left")


def test_unloading_what_is_in_use(page: Page, daemon: DaemonProcess) -> None:
    """It takes a yes, and ends what uses the model."""
    with long_request(daemon):
        table = page.get_by_role("table", name="Loaded models")
        expect(table).to_contain_text("1 of")
        table.get_by_role("button", name="Unload tiny").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(table).to_contain_text("1 of")
        table.get_by_role("button", name="Unload tiny").click()
        page.get_by_role("dialog").get_by_role("button", name="Unload anyway").click()
        expect(page.get_by_text("No model is loaded")).to_be_visible()


def test_requests(page: Page, daemon: DaemonProcess) -> None:
    """What ends appears by itself, is found by a filter, and has its figures."""
    go(page, "Requests")
    body = {"model": "tiny", "prompt": "x", "max_tokens": 3}
    daemon.http.post("/v1/completions", json=body, headers={"X-Request-Origin": "Seldom"})
    row = page.get_by_role("row").filter(has_text="Seldom").first
    expect(row).to_contain_text("200")
    page.get_by_label("Filter by model").fill("seldom")
    for each in page.get_by_role("table").get_by_role("row").all()[1:]:
        expect(each).to_contain_text("Seldom")
    row.get_by_role("button", name="Details").click()
    expect(page.get_by_role("dialog")).to_contain_text("Completion tokens")
    page.get_by_role("button", name="Close").click()
    page.get_by_label("Filter by model").fill("nothing like it")
    expect(page.get_by_text("No request fits the filter")).to_be_visible()


def test_logs(page: Page, daemon: DaemonProcess) -> None:
    """Lines come as they are written, and are filtered, held and cleared."""
    go(page, "Logs")
    log = page.get_by_role("log", name="Log")
    expect(log).to_contain_text("listening on")
    daemon.http.post("/engines/load", json={"models": ["tiny"]})
    expect(log).to_contain_text("ready after")
    page.get_by_label("Filter lines").fill("listening on unix")
    expect(log).not_to_contain_text("ready after")
    expect(log).to_contain_text("listening on unix")
    page.get_by_label("Filter lines").fill("")
    page.get_by_label("Level").select_option("error")
    expect(log).not_to_contain_text("listening on")
    page.get_by_label("Level").select_option("")
    page.get_by_label("Model", exact=True).select_option("ai/tiny:latest")
    expect(log).to_contain_text("ready after")
    expect(log).not_to_contain_text("runnerd.daemon: listening")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Clear").click()
    expect(log).to_be_empty()


def test_a_session(page: Page, daemon: DaemonProcess) -> None:
    """A session is made, gone on with, listed, and removed."""
    go(page, "Sessions")
    page.get_by_role("button", name="New session").click()
    page.get_by_label("Model", exact=True).select_option("ai/tiny:latest")
    page.get_by_label("Name").fill("trip")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("trip")
    session = daemon.http.get("/runnerd/sessions").json()[0]
    daemon.http.post(
        f"/runnerd/sessions/{session['id']}/prompt",
        json={"prompt": "Where to?", "parameters": {"max_tokens": 4}},
    )
    go(page, "Sessions")
    page.get_by_role("link", name="trip").click()
    said = page.get_by_role("log", name="What was said")
    expect(said).to_contain_text("Where to?")
    page.get_by_label("Prompt", exact=True).fill("And then?")
    page.get_by_label("Prompt", exact=True).press("Enter")
    expect(said).to_contain_text("And then?")
    interrupt = page.get_by_role("button", name="Interrupt")
    expect(interrupt.or_(page.get_by_role("button", name="Send"))).to_be_visible()
    if interrupt.is_visible():
        interrupt.click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("There are no sessions")).to_be_visible()
    assert daemon.http.get("/runnerd/sessions").json() == []


def test_a_job(page: Page, daemon: DaemonProcess) -> None:
    """A job is submitted, completes, shows its response, and is deleted."""
    go(page, "Jobs")
    page.get_by_role("button", name="New job").click()
    page.get_by_label("Model", exact=True).select_option("ai/tiny:latest")
    page.get_by_label("Prompt", exact=True).fill("Count")
    page.get_by_label("Parameters, as JSON").fill('{"max_tokens": 5}')
    page.get_by_role("button", name="Submit").click()
    row = page.get_by_role("table", name="Jobs").get_by_role("row").nth(1)
    expect(row).to_contain_text("completed")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Responses")).to_be_visible()
    page.get_by_role("button", name="Delete job").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are no jobs")).to_be_visible()


def test_a_job_is_cancelled_and_tried_again(page: Page, daemon: DaemonProcess) -> None:
    """A job that runs long is cancelled on the page, and queued again."""
    body = {"prompt": "x", "parameters": {"max_tokens": 8000, "ignore_eos": True}, "model": "tiny"}
    assert daemon.http.post("/runnerd/jobs", json={**body, "priority": 1}).status_code == 201
    go(page, "Jobs")
    page.get_by_role("button", name="Cancel job").click()
    row = page.get_by_role("table", name="Jobs").get_by_role("row").nth(1)
    expect(row).to_contain_text("cancelled")
    row.get_by_role("button", name="Try job").click()
    told(page, "queued again")
    [job] = daemon.http.get("/runnerd/jobs").json()
    daemon.http.delete(f"/runnerd/jobs/{job['id']}")


def test_the_api(page: Page, daemon: DaemonProcess) -> None:
    """Every route of `/openapi.json` is at `/docs`, with what it does and takes."""
    document = daemon.http.get("/openapi.json").json()
    count = sum(
        len([one for one in each if one != "parameters"]) for each in document["paths"].values()
    )
    page.goto("/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text("API")
    expect(page.locator(".route")).to_have_count(count)
    page.get_by_label("Filter routes").fill("post /engines/unload")
    expect(page.locator(".route")).to_have_count(1)
    page.get_by_text("/engines/unload", exact=True).click()
    expect(page.locator(".route")).to_contain_text("unload_llm")
