"""The page of notifications: addresses from a form, what is done to them, and what was sent."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import attributes, request, text

from encord_agents.local import LocalPlatform, LocalProject
from encord_agents.local.page import notifications
from encord_agents.local.page.pages import Pages
from encord_agents.local.receivers import BATCH_SIZE, MAX_WAIT

ADDRESS = "http://127.0.0.1:9/"


def add(pages: Pages, **form: str) -> Any:
    return notifications.add(pages, request(), {name: [value] for name, value in ({"address": ADDRESS} | form).items()})


def act(pages: Pages, action: str, receiver: str) -> Any:
    return notifications.act(pages, request(), {"action": [action], "receiver": [receiver]})


def test_a_form_with_its_least(platform: LocalPlatform, pages: Pages) -> None:
    """Fields that are empty, or not there, have their defaults; blanks around a text are none of it."""
    answer = add(pages, address=f"  {ADDRESS} ", secret=" ", of="", batch_size="", max_wait=" ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/notifications")
    (found,) = platform.receivers
    assert (found.address, found.project, found.stage) == (ADDRESS, None, None)
    assert (found.batch_size, found.max_wait, len(found.secret)) == (BATCH_SIZE, MAX_WAIT, 64)


def test_a_form_with_everything(platform: LocalPlatform, pages: Pages, project: LocalProject) -> None:
    """A project, or a project and its stage, is one choice; a field that was sent twice counts as it was sent last."""
    stage = project.stage("Agent").uuid
    add(pages, of=f"{project.project_hash}/{stage}", secret="s", batch_size="7", max_wait="0.5")
    add(pages, of=project.project_hash)
    notifications.add(pages, request(), {"address": ["x", f"{ADDRESS}last"]})
    found = {(one.project, one.stage): one for one in platform.receivers}
    assert found.keys() == {(project.project_hash, stage), (project.project_hash, None), (None, None)}
    first = found[project.project_hash, stage]
    assert (first.secret, first.batch_size, first.max_wait) == ("s", 7, 0.5)
    assert found[None, None].address == f"{ADDRESS}last"


@pytest.mark.parametrize(
    "form",
    [
        {"address": ""}, {"address": "ftp://x"}, {"of": NOBODY}, {"of": "x/y"}, {"batch_size": "0"},
        {"batch_size": "1.5"}, {"batch_size": "many"}, {"batch_size": "inf"}, {"max_wait": "-1"}, {"max_wait": "nan"},
        {"max_wait": "soon"}, {"max_wait": "1e400"}, {"secret": "\0"},
    ],
)  # fmt: skip
def test_a_form_that_makes_no_sense(platform: LocalPlatform, pages: Pages, form: dict[str, str]) -> None:
    """It is refused, and nobody is registered."""
    with refused(400):
        add(pages, **form)
    assert list(platform.receivers) == []


def test_an_address_is_removed(platform: LocalPlatform, pages: Pages) -> None:
    """It is gone, and can be neither removed nor told again."""
    add(pages)
    (found,) = platform.receivers
    assert act(pages, "tell", str(found.id)).headers["location"] == "/notifications"
    assert act(pages, "remove", str(found.id)).headers["location"] == "/notifications"
    assert list(platform.receivers) == []
    for action in ("remove", "tell"):
        with refused(400):
            act(pages, action, str(found.id))


@pytest.mark.parametrize(
    ("action", "receiver"),
    [("forget", "1"), ("", "1"), ("remove", ""), ("remove", "²"), ("remove", "-1"), ("tell", "9" * 30), ("tell", "x")],
)
def test_what_is_no_action(platform: LocalPlatform, pages: Pages, action: str, receiver: str) -> None:
    """It is refused, with the addresses as they were; so is an empty form."""
    add(pages)
    with refused(400):
        act(pages, action, receiver)
    with refused(400):
        notifications.act(pages, request(), {})
    assert len(list(platform.receivers)) == 1


def test_the_page(pages: Pages, project: LocalProject) -> None:
    """It lists each address with what it hears of, and offers the projects and their agent stages."""
    assert "Nobody is notified yet" in text(notifications.notifications_page(pages, request()))
    stage = project.stage("Agent").uuid
    add(pages, of=f"{project.project_hash}/{stage}", batch_size="1")
    add(pages)
    answer = notifications.notifications_page(pages, request())
    assert "Agent of Project at 1 task, or after 1 s" in text(answer)
    assert "agent stages of all projects" in text(answer)
    choices = [value for value in attributes(answer, "value") if value.startswith(project.project_hash)]
    assert choices == [project.project_hash, f"{project.project_hash}/{stage}"]


def test_notifications_that_were_sent(
    platform: LocalPlatform, pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown with their answers, the latest first, so many; those of a stage that is gone are not."""
    add(pages)
    (receiver,) = platform.receivers
    stage = project.stage("Agent").uuid
    with project._database.write() as connection:
        connection.executemany(
            "INSERT INTO notifications (uid, receiver, project, stage, pending, reason, body, reminders, status,"
            " attempts, created_at, next_at, seconds, answer)"
            " VALUES (?, ?, ?, ?, 3, 'max_wait_elapsed', x'', 0, 'delivered', 2, 0, 0, 0.01, '200 <OK>')",
            [
                (uid, receiver.id, project._record.id, of)
                for uid, of in (("first", stage), ("gone", "stage"), ("last", stage))
            ],
        )
    answer = notifications.live(pages, request())
    assert attributes(answer, "data-notification") == ["last", "first"]
    assert "3 200 <OK> at try 2 10 ms" in text(answer)
    assert answer.headers["cache-control"] == "no-store"
    monkeypatch.setattr(notifications, "SHOWN", 1)
    assert attributes(notifications.sent(pages), "data-notification") == ["last"]
