"""The chat: streaming, stopping, images, parameters, several models, and the same as a command."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def say(page: Page, text: str) -> None:
    """Type something and send it with Enter."""
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def columns(page: Page) -> Locator:
    """The conversations side by side."""
    return page.get_by_role("log", name="Conversation with")


def limit(page: Page, tokens: int, others: str = "") -> None:
    """Bound the responses, and say other parameters."""
    expect(columns(page).first).to_be_visible()  # it moves what is below
    page.get_by_text("System prompt, parameters, tools").click()
    page.get_by_label("Most tokens").fill(str(tokens))
    page.get_by_label("Other parameters, as JSON").fill(others)


def test_a_response_streams(page: Page, daemon: DaemonProcess) -> None:
    """What is asked and what is said are on the screen, with how long it took."""
    go(page, "Chat")
    limit(page, 12)
    page.get_by_label("System prompt", exact=True).fill("Be brief.")
    say(page, "Hello there")
    expect(columns(page)).to_contain_text("Hello there")
    expect(page.get_by_text("12 tokens")).to_be_visible()
    said = daemon.http.get("/engines/requests").json()[-1]
    assert (said["streamed"], said["completion_tokens"]) == (True, 12)
    page.get_by_role("button", name="New chat").click()
    expect(columns(page)).to_contain_text("Nothing was said yet.")


def test_stop(page: Page, daemon: DaemonProcess) -> None:
    """A response is stopped, and what has come stays."""
    go(page, "Chat")
    limit(page, 8000, '{"ignore_eos": true}')
    say(page, "Go on")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(columns(page).locator(".rich")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(columns(page)).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_several_models_side_by_side(page: Page) -> None:
    """Two models are asked the same, and one column is taken away again."""
    go(page, "Chat")
    limit(page, 5)
    page.get_by_role("button", name="Add a model").click()
    expect(columns(page)).to_have_count(2)
    say(page, "Both of you")
    for column in columns(page).all():
        expect(column).to_contain_text("Both of you")
    expect(page.get_by_text("5 tokens")).to_have_count(2)
    page.get_by_role("button", name="Remove this column").last.click()
    expect(columns(page)).to_have_count(1)


def test_a_chat_outlives_other_views(page: Page) -> None:
    """A conversation is still there after a look at something else."""
    go(page, "Chat")
    limit(page, 5)
    say(page, "Remember me")
    expect(page.get_by_text("5 tokens")).to_be_visible()
    go(page, "Requests")
    go(page, "Chat")
    expect(columns(page)).to_contain_text("Remember me")


def test_what_is_no_json_is_told(page: Page) -> None:
    """Tools and parameters that are no JSON, and what the daemon refuses, are told in words."""
    go(page, "Chat")
    limit(page, 5, "{nonsense")
    say(page, "Hello")
    told(page, "Other parameters is no JSON")
    page.get_by_label("Other parameters, as JSON").fill('{"temperature": "hot"}')
    page.get_by_label("Message", exact=True).press("Enter")
    expect(page.get_by_role("alert").filter(has_text="temperature")).to_be_visible()


def test_images(page: Page) -> None:
    """An image is added, shown, and refused by a model that sees none, in the daemon's words."""
    go(page, "Chat")
    files: list[FilePayload] = [{"name": "a.png", "mimeType": "image/png", "buffer": PICTURE}]
    page.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_role("button", name="Remove image 1")).to_be_visible()
    say(page, "What is this?")
    expect(columns(page).get_by_alt_text("Image that was sent")).to_be_visible()
    expect(columns(page).get_by_role("alert")).to_contain_text("image")


def test_tools_reach_the_model(page: Page, daemon: DaemonProcess) -> None:
    """Tools are sent as they were written."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    go(page, "Chat")
    limit(page, 5)
    page.get_by_label("Tools, as JSON").fill(json.dumps(tools))
    with page.expect_request("**/v1/chat/completions") as asked:
        say(page, "Hello")
    sent = asked.value.post_data_json
    assert sent is not None
    assert sent["tools"] == tools


def test_the_same_as_a_command(page: Page, daemon: DaemonProcess) -> None:
    """The curl line on the screen does what the page did, also with quotes in it."""
    go(page, "Chat")
    limit(page, 4)
    page.get_by_label("Message", exact=True).fill('It\'s "quoted" $HOME `x` \\ end')
    page.get_by_text("The same with curl and Python").click()
    line = page.locator(".copyable-text").first.inner_text()
    assert shlex.split(line)[0] == "curl"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("data: [DONE]\n\n")
    body = json.loads(shlex.split(line)[-1])
    assert body["messages"] == [{"role": "user", "content": 'It\'s "quoted" $HOME `x` \\ end'}]
    program = page.locator(".copyable-text").last.inner_text()
    compile(program, "page", "exec")
    assert re.search(r"max_tokens=4", program)
