"""What models, users and clients say is text on the page, and never an element or a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf as gguf_writer
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from runnerd.models import tiny
from tests.browser.conftest import go, watched
from tests.support.daemon import DaemonProcess, running
from tests.support.hostile_backend import ATTACK, NAME, THOUGHT, installed
from tests.support.plain_http import NO_TLS

CHAT = {"model": NAME, "messages": [{"role": "user", "content": ATTACK}], "stream": True}
VIEWS = ("Overview", "Models", "Requests", "Logs", "Approvals", "Users", "Sessions", "Jobs")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon of which everything that can be said by somebody else is an attack."""
    root = tmp_path_factory.mktemp("d")
    model = root / "m.gguf"
    write_hostile_model(model)
    env = {**installed(root / "backend"), "RUNNERD_CAPTURE_REQUESTS": "1"}
    with running(root / "daemon", env=env) as daemon:
        daemon.import_model(model, "m")
        fill(daemon)
        yield daemon


def write_hostile_model(path: Path) -> None:
    """Write a model whose header is an attack."""
    writer = gguf_writer.GGUFWriter(path, "llama")
    writer.add_description(ATTACK)
    writer.add_license(ATTACK)
    tokens = tiny.add_byte_tokenizer(writer)
    tiny._add_shape(writer, ATTACK, 512)
    tiny._add_llama_tensors(tiny.Weights(writer, 0), tokens)
    tiny.finish(writer)


def fill(daemon: DaemonProcess) -> None:
    """Let users, clients and jobs say what they can."""
    http = daemon.http
    origin = {"X-Request-Origin": ATTACK, "User-Agent": ATTACK}
    answer = http.post("/v1/chat/completions", json=CHAT, headers=origin)
    assert answer.status_code == 200, answer.text
    said = {"name": "eve", "may": ["session", "view_llms", "request_load"], "label": ATTACK[:100]}
    user = http.post("/runnerd/users", json=said).json()
    headers = {"Authorization": f"Bearer {user['key']}"}
    asked = {"type": "permissions", "may": ["session", "load_llm"], "reason": ATTACK[:200]}
    assert httpx.post(
        f"{daemon.address}/runnerd/approvals", json=asked, headers=headers, verify=NO_TLS
    ).is_success
    refused = httpx.get(
        daemon.address, headers={"Origin": f"http://x.example/{ATTACK}"}, verify=NO_TLS
    )
    assert refused.status_code == 403  # it is in the log now
    http.post("/v1/chat/completions", json={**CHAT, "model": ATTACK})
    http.post("/runnerd/jobs", json={"model": NAME, "prompt": ATTACK})
    session = http.post("/runnerd/sessions", json={"model": NAME, "system": ATTACK})
    if session.is_success:
        http.post(f"/runnerd/sessions/{session.json()['id']}/prompt", json={"prompt": ATTACK})


@pytest.fixture
def page(chromium: Browser, daemon: DaemonProcess, look: str) -> Iterator[Page]:
    """The owner's page; at its end nothing that was said is an element of it."""
    with watched(chromium, daemon.address, look) as page:
        page.goto("/ui")
        yield page
        harmless(page)


def harmless(page: Page) -> None:
    """Nothing of an attack has become an element, and no title was set."""
    assert page.locator("script:not([src]), iframe, object, embed").count() == 0
    assert page.locator("[onerror], [onload], img[src='x'], a[href^='javascript']").count() == 0
    assert page.title() != "pwned"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view(page: Page, view: str) -> None:
    """Each view shows it as what it is."""
    go(page, view)
    shown = {"Models": "m", "Sessions": "Sessions", "Approvals": "eve", "Users": "eve"}
    expect(page.locator("main")).to_contain_text(shown.get(view, "<img src=x"))


@pytest.mark.long
def test_usage_by_model(page: Page) -> None:
    """A model's name, and a client's, in the sums."""
    go(page, "Users")
    page.get_by_label("Sums of usage").select_option("model")
    expect(page.get_by_role("table", name="Usage")).to_contain_text("<img src=x")


@pytest.mark.long
def test_a_batch(page: Page, daemon: DaemonProcess, tmp_path: Path) -> None:
    """A file's name and lines that are an attack, and what the daemon says of them."""
    file = tmp_path / "<img src=x onerror=alert(1)>.jsonl"
    file.write_text(f'{{"custom_id": "{ATTACK[:20]}", "url": 1}}\n{ATTACK}\n')
    go(page, "Jobs")
    page.get_by_role("button", name="New batch").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Submit").click()
    row = page.get_by_role("table", name="Batches").get_by_role("row").nth(1)
    expect(row).to_contain_text("failed")
    row.get_by_role("button", name="Details").click()
    expect(page.get_by_role("dialog")).to_contain_text("Errors")


@pytest.mark.long
def test_the_catalogue_and_logins(page: Page, daemon: DaemonProcess) -> None:
    """An entry of somebody's index, and a login's name."""
    entry = {"id": "far", "description": ATTACK, "license": ATTACK[:90], "name": ATTACK[:60]}
    answer = {"id": "far", "uuid": None, "model": None, "said": True, "link": ATTACK}
    told = [{**answer, "entry": {**entry, ATTACK: [ATTACK], "parameters": {ATTACK: ATTACK}}}]
    page.route("**/runnerd/catalog", lambda route: route.fulfill(json=told))
    login = {"registry": ATTACK, "username": ATTACK, "created": "2026-01-01T00:00:00Z"}
    page.route("**/runnerd/logins", lambda route: route.fulfill(json=[login]))
    go(page, "Models")
    page.get_by_text("The catalogue").click()
    page.get_by_role("button", name="Details of far").click()
    expect(page.get_by_role("dialog")).to_contain_text(ATTACK)
    page.get_by_role("button", name="Close").click()
    page.get_by_text("Logins at registries").click()
    expect(page.get_by_role("table", name="Logins")).to_contain_text(ATTACK)


@pytest.mark.long
def test_a_model_of_the_store(page: Page) -> None:
    """What a file's header says."""
    go(page, "Models")
    page.get_by_role("link", name="m", exact=True).click()
    expect(page.locator("main")).to_contain_text(ATTACK)


@pytest.mark.long
def test_a_response(page: Page, daemon: DaemonProcess) -> None:
    """Name, reasoning, response and tool calls of a chat; its code and its markup are text."""
    page.evaluate("name => { location.hash = '#/chat?model=' + encodeURIComponent(name) }", NAME)
    page.get_by_label("Message", exact=True).fill(ATTACK)
    page.get_by_label("Message", exact=True).press("Enter")
    log = page.get_by_role("log")
    expect(log.locator(".user")).to_contain_text(ATTACK)
    expect(log.locator("pre").first).to_contain_text(ATTACK)
    expect(log.get_by_text("Calls")).to_contain_text(ATTACK)
    log.get_by_text("Reasoning").click()
    expect(log).to_contain_text(THOUGHT)
    expect(log).to_contain_text("[link](javascript:document.title='pwned')")
    assert log.locator("a, img").count() == 0
    page.get_by_text("The same with curl and Python").click()
    expect(page.locator(".copyable-text").first).to_contain_text("<img src=x")


PATHOLOGICAL = {
    "backticks": "Array.from({length: 400}, (_, i) => '`'.repeat(i) + 'a').join('')",
    "a heading of marks": "'# ' + '#'.repeat(90000) + 'x'",
    "a fence that is none": "'```' + ' '.repeat(45000) + '`'",
    "tildes": "'~'.repeat(45000) + '`'",
    "marks": "'**a '.repeat(20000) + '*a '.repeat(5000)",
}
READ = """async ([text, property]) => {
    const {rich} = await import(document.querySelector('script').src.replace('app', 'markdown'));
    const box = document.createElement('div');
    for (let i = 0; i < 5; i++) box.replaceChildren(...rich(text));
    return box[property];
}"""
MARKED = """**`a`** and `b ** c` ``d`e``' *f* 2*3*4 **g
# Title ##
```py
x
```"""


@pytest.mark.long
@pytest.mark.parametrize("made", PATHOLOGICAL.values(), ids=PATHOLOGICAL.keys())
def test_what_is_made_to_hold_the_page(page: Page, made: str) -> None:
    """A response that is read several times, as one that comes is, and to its last letter."""
    text = page.evaluate(READ, [page.evaluate(made), "textContent"])
    assert text.rstrip().endswith(("x", "a", "`"))


@pytest.mark.long
def test_marks_of_a_response(page: Page) -> None:
    """What is written often: code within bold text, marks within code, several backticks."""
    found = page.evaluate(READ, [MARKED, "innerHTML"])
    assert found.startswith(
        '<p class="text"><strong><code>a</code></strong> and <code>b ** c</code>'
        " <code>d`e</code>' <em>f</em> 2*3*4 **g"
    )
    assert "<h3>Title</h3>" in found
    assert 'aria-label="Code, py"><code>x</code></pre>' in found


@pytest.mark.long
def test_captured_text(page: Page) -> None:
    """What was asked and answered, where an owner has it kept."""
    go(page, "Requests")
    page.get_by_role("button", name="Details").last.click()
    page.get_by_text("What was asked").click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    page.get_by_role("button", name="Close").click()


@pytest.mark.long
def test_a_job(page: Page) -> None:
    """A job's prompt and its response."""
    go(page, "Jobs")
    page.get_by_role("table", name="Jobs").get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text("<img src=x")


@pytest.mark.long
def test_a_name_that_is_asked_for(page: Page) -> None:
    """What somebody types comes back in an error."""
    go(page, "Models")
    page.get_by_label("Model", exact=True).fill(ATTACK)
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator("#messages")).to_contain_text("<img src=x")


@pytest.mark.long
def test_an_address_that_is_made_up(page: Page) -> None:
    """Whatever stands behind the # is a name of a model or a view, or nothing."""
    for place in (
        "#/models/" + ATTACK,
        "#/" + ATTACK,
        "#/jobs/%",
        "#/sessions/../../x",
        "#//",
        "#/constructor",
        "#/__proto__/x",
        "#/toString?model=%",
        "#/models/%00",
        "#/chat?model=" + ATTACK,
    ):
        page.evaluate("place => { location.hash = place }", place)
        expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.long
def test_the_policy_stands_behind_it(chromium: Browser, daemon: DaemonProcess) -> None:
    """What a mistake in the page would do is refused by the browser."""
    page = chromium.new_page()
    page.goto(f"{daemon.address}/ui")
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    assert refused
    page.evaluate(
        "() => { const s = document.createElement('style'); s.textContent = 'body{display:none}';"
        " document.head.append(s) }"
    )
    expect(page.locator("main")).to_be_visible()
    page.close()
