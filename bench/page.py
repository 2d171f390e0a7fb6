"""The owner's page: what it weighs, and how long a browser shows nothing of it, over loopback."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.report import Report
from runnerd.models import tiny
from tests.support.daemon import DaemonProcess

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PAINTS = """() => ({
    ...Object.fromEntries(performance.getEntriesByType('paint').map(e => [e.name, e.startTime])),
    bytes: [...performance.getEntriesByType('resource'),
        ...performance.getEntriesByType('navigation')].reduce((sum, e) => sum + e.transferSize, 0),
})"""
_SHOWN = "() => document.querySelector('dl.figures') && performance.now()"


def page(report: Report, seconds: float) -> None:
    """Milliseconds from the navigation on, with an empty cache and with a filled one."""
    report.section("the owner's page in Chromium, over loopback")
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        report.line("there is no Chromium", "-")
        return
    with tempfile.TemporaryDirectory() as folder:
        daemon = DaemonProcess(Path(folder) / "d")
        try:
            daemon.start()
            tiny.write_completion_model(Path(folder) / "m.gguf")
            daemon.import_model(Path(folder) / "m.gguf", "m")
            daemon.http.post("/engines/load", json={"models": ["m"]}).raise_for_status()
            _measured(report, daemon.address, browser, rounds=max(5, round(4 * seconds)))
        finally:
            daemon.close()


def _measured(report: Report, address: str, browser: str, rounds: int) -> None:
    from playwright.sync_api import sync_playwright

    seen: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(rounds):
            context = chromium.new_context()  # with a cache of its own
            view = context.new_page()
            for cache in ("empty", "filled"):
                view.goto(f"{address}/ui", wait_until="commit")
                shown = view.wait_for_function(_SHOWN).json_value()
                found = view.evaluate(_PAINTS)
                seen.setdefault(f"first paint, {cache} cache", []).append(found["first-paint"])
                seen.setdefault(f"what is loaded is shown, {cache} cache", []).append(shown)
                seen.setdefault(f"fetched, {cache} cache", []).append(found["bytes"])
            context.close()
        chromium.close()
    for what, values in sorted(seen.items()):
        median, best = statistics.median(values), min(values)
        if what.startswith("fetched"):
            report.line(what, f"{median / 1000:.1f} kB")
        else:
            bar = "200 ms" if "paint" in what else ""
            report.line(what, f"{median:.0f} ms, {best:.0f} at least", bar)
