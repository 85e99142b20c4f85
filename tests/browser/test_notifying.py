"""Notifications on the page: an address is registered with a form, and what it answers is shown as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect
from tests.browser.conftest import Gallery
from tests.editors import listening

from encord_agents.fastapi import serve_runner
from encord_agents.tasks import Runner

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
SECRET = "the secret"


def test_an_address_is_registered_and_its_answers_are_shown(visit: Visit, gallery: Gallery) -> None:
    """From the empty page to tasks that move: what was sent appears by itself, and the address can be removed."""
    runner = Runner(user_client=gallery.platform.client())
    runner.stage("Pre-label")(lambda: "review")
    page = visit("/")
    page.get_by_role("link", name="Notifications").click()
    page.get_by_role("heading", name="Nobody is notified yet").wait_for()
    with listening(serve_runner(runner, secret=SECRET)) as address:
        page.get_by_role("textbox", name="Address").fill(f"{address}/notifications")
        page.get_by_label("Of").select_option(label="Gallery: Pre-label")
        page.get_by_label("Secret").fill(SECRET)
        page.get_by_role("button", name="Register").click()
        page.get_by_text("is notified from now on").wait_for()
        assert "Pre-label of Gallery" in page.locator(".receiver").inner_text()
        expect(page.locator("[data-notification] .answer").first).to_have_text("200 OK")
        page.goto(gallery.platform.domain + gallery.path)
        review = f'[data-value="stage:{gallery.project.stage("Review").uuid}"]'
        expect(page.locator(review)).to_have_text("4")
    page.goto(f"{gallery.platform.domain}/notifications")
    gallery.project.reset()
    expect(page.locator("[data-notification] .answer.bad").first).to_have_text("connection refused")
    page.get_by_text("Its secret").click()
    page.get_by_text(f"export ENCORD_WEBHOOK_SECRET='{SECRET}'").wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="Nobody is notified yet").wait_for()


def test_without_scripts(visit: Visit, gallery: Gallery) -> None:
    """The form and the buttons work with plain requests."""
    page = visit("/notifications", java_script_enabled=False)
    page.get_by_role("textbox", name="Address").fill("http://127.0.0.1:9/")
    page.get_by_role("button", name="Register").click()
    page.get_by_role("button", name="Notify now").click()
    page.get_by_text("is notified of every agent stage").wait_for()
    assert [receiver.address for receiver in gallery.platform.receivers] == ["http://127.0.0.1:9/"]
