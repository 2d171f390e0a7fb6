"""Users, keys and approvals on the page, and who looks at it."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, wait_for


@pytest.fixture(autouse=True)
def nobody_there(daemon: DaemonProcess) -> None:
    """Begin without users."""
    for user in daemon.http.get("/runnerd/users").json():
        daemon.http.delete(f"/runnerd/users/{user['id']}")


def user_with_key(daemon: DaemonProcess, *may: str, name: str = "bob") -> str:
    """Add a user; return the key."""
    said = {"name": name, "may": ["session", "view_llms", *may]}
    response = daemon.http.post("/runnerd/users", json=said)
    return str(response.json()["key"])


def test_a_user_from_beginning_to_end(page: Page, daemon: DaemonProcess) -> None:
    """A user is added, its key shown once, changed, disabled, given another key, and removed."""
    go(page, "Users")
    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name").fill("ann")
    page.get_by_label("load models", exact=True).check()
    page.get_by_label("Tokens per day").fill("5000")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    key = page.get_by_role("dialog").locator(".copyable-text").inner_text()
    asked = httpx.get(
        f"{daemon.address}/runnerd/me", headers={"Authorization": f"Bearer {key}"}, verify=NO_TLS
    )
    assert asked.json()["name"] == "ann"
    page.get_by_role("button", name="I have it").click()
    card = page.get_by_role("article", name="ann")
    expect(card).to_contain_text("load models")
    expect(card).to_contain_text("5,000")
    card.get_by_role("button", name="Edit ann").click()
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Tokens per day").fill("")
    page.get_by_role("button", name="Save").click()
    card = page.get_by_role("article", name="anna")
    expect(card).not_to_contain_text("5,000")
    card.get_by_role("button", name="Disable anna").click()
    expect(card).to_contain_text("disabled")
    card.get_by_role("button", name="Enable anna").click()
    expect(card).not_to_contain_text("disabled")
    card.get_by_role("button", name="New key for anna").click()
    page.get_by_label("What it is for").fill("laptop")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="I have it").click()
    expect(card).to_contain_text("laptop")
    card.get_by_role("button", name="Replace key").first.click()
    page.get_by_role("button", name="I have it").click()
    wait_for(lambda: refused(daemon, key), "the old key to count no more")
    card.get_by_role("button", name="Revoke key").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(card.get_by_role("button", name="Revoke key")).to_have_count(1)
    card.get_by_role("button", name="Remove anna").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nobody has a key")).to_be_visible()


def refused(daemon: DaemonProcess, key: str) -> bool:
    """Whether a key does not count."""
    headers = {"Authorization": f"Bearer {key}"}
    return (
        httpx.get(f"{daemon.address}/runnerd/me", headers=headers, verify=NO_TLS).status_code == 401
    )


def test_approvals_come_by_themselves(page: Page, daemon: DaemonProcess) -> None:
    """What a user asks for appears, is accepted and rejected."""
    key = user_with_key(daemon, "request_load")
    go(page, "Approvals")
    expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
    with httpx.Client(
        base_url=daemon.address,
        headers={"Authorization": f"Bearer {key}"},
        timeout=60 * SECONDS,
        verify=NO_TLS,
    ) as user:
        permissions = {"type": "permissions", "may": ["session", "load_llm"], "reason": "Friday"}
        user.post("/runnerd/approvals", json=permissions)
        user.post("/runnerd/approvals", json={"type": "load", "model": "other"})
        waiting = page.get_by_role("table", name="Requests to the owner").first
        expect(waiting).to_contain_text("Friday")
        page.get_by_role("button", name="Accept: bob, Permissions").click()
        expect(page.get_by_role("button", name="Accept: bob, Permissions")).to_have_count(0)
        page.get_by_role("button", name="Reject: bob, Load other").click()
        expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
        expect(page.get_by_text("rejected", exact=True)).to_be_visible()
        assert "load_llm" in user.get("/runnerd/me").json()["may"]


def test_a_user_with_a_key(page: Page, daemon: DaemonProcess) -> None:
    """A key makes the page the user's: it shows what the user may, asks the owner, forgets it."""
    key = user_with_key(daemon, "request_download")
    page.get_by_role("button", name="Use a key").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("button", name="You are bob")).to_be_visible()
    expect(page.locator("nav a[href='#/users']")).to_have_count(0)
    go(page, "Approvals")
    page.get_by_role("button", name="Ask for something").click()
    page.get_by_label("Model", exact=True).fill("ai/smollm2")
    page.get_by_label("Why").fill("it is small")
    page.get_by_role("dialog").get_by_role("button", name="Ask").click()
    told(page, "The owner is asked")
    expect(page.get_by_text("Download smollm2")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Accept"))).to_have_count(0)
    page.get_by_role("button", name="You are bob").click()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("button", name="You are an owner")).to_be_visible()


def test_a_key_that_does_not_count(page: Page, daemon: DaemonProcess) -> None:
    """A key that was revoked is told of, and another one can be entered."""
    key = user_with_key(daemon)
    user_with_key(daemon, name="other")
    daemon.http.delete("/runnerd/users/bob")
    page.get_by_role("button", name="Use a key").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_text("This daemon asks who you are")).to_be_visible()
    with page.expect_response("**/runnerd/overview"):  # a look that was due already
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("location.hash = '#/models'")
    expect(page.get_by_text("This daemon asks who you are")).to_be_visible()
    page.get_by_role("button", name="Enter a key").click()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_the_key_stays_in_its_tab(page: Page, daemon: DaemonProcess) -> None:
    """It is in no other tab's storage, in no cookie and in no address."""
    key = user_with_key(daemon)
    page.get_by_role("button", name="Use a key").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("button", name="You are bob")).to_be_visible()
    assert key not in page.url
    assert page.evaluate("document.cookie") == ""
    assert key not in str(page.evaluate("JSON.stringify(localStorage)"))
    other = page.context.new_page()
    other.goto(f"{daemon.address}/ui")
    expect(other.get_by_role("button", name="You are an owner")).to_be_visible()
