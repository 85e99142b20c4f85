"""`encord-agents local notify` and `notifications`: addresses as they are registered, removed and listed."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from encord_agents.local import LocalPlatform, LocalProject, notifications
from encord_agents.local.notifications import Notification
from encord_agents.local.receivers import Receivers

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

ADDRESS = "http://127.0.0.1:9/notifications"
TWO_STAGES = {"stages": [{"title": title, "type": "agent"} for title in ("A", "B")]}
MISTAKES = [
    ("nonsense", [], "'nonsense' is not an address to notify"),
    (ADDRESS, ["--stage", "Agent"], "say which project, too"),
    (ADDRESS, ["--project", "nothing"], "There is no project nothing."),
    (ADDRESS, ["--project", "Project", "--stage", "Done"], "'Done' is not an agent stage of this project"),
]
"""Mistakes in registering and removing: the address, options, and words of the message."""


def stored(platform: LocalPlatform) -> list[dict[str, Any]]:
    """The registered addresses, without their numbers and times."""
    return [
        {name: value for name, value in vars(one).items() if name not in ("id", "created_at")}
        for one in platform.receivers
    ]


# Registering


def test_without_options(command: Command, platform: LocalPlatform) -> None:
    """Notify of all projects and stages, by the documented numbers, with a secret that nobody else has."""
    ran = command("local", "notify", ADDRESS)
    comment, export = ran.out.splitlines()
    (one,) = stored(platform)
    secret = export.removeprefix("export ENCORD_WEBHOOK_SECRET=")
    assert (ran.code, ran.err) == (0, "")
    assert comment.startswith(f"# {ADDRESS} is notified while ")
    assert len(secret) == 64
    assert one == {
        "address": ADDRESS,
        "secret": secret,
        "project": None,
        "stage": None,
        "batch_size": 100,
        "max_wait": 1.0,
    }


def test_options_of_notify(command: Command, platform: LocalPlatform, project: LocalProject) -> None:
    """Register what is given; the project may be given by its title, and numbers at their lowest."""
    words = ["--project", "Project", "--stage", "Agent", "--secret", "s", "--batch-size", "1", "--max-wait", "0"]
    assert command("local", "notify", ADDRESS, *words).code == 0
    assert stored(platform) == [
        {
            "address": ADDRESS,
            "secret": "s",
            "project": project.project_hash,
            "stage": project.stage("Agent").uuid,
            "batch_size": 1,
            "max_wait": 0.0,
        }
    ]


@pytest.mark.parametrize(("options", "secret"), [([], "from outside"), (["--secret", "typed"], "typed")])
def test_a_secret_in_the_environment(
    command: Command, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, options: list[str], secret: str
) -> None:
    """Sign with the secret of the environment, which receivers read as well, unless another one is typed."""
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", "from outside")
    command("local", "notify", ADDRESS, *options)
    assert [one.secret for one in platform.receivers] == [secret]


def test_a_secret_survives_the_shell(command: Command, platform: LocalPlatform) -> None:
    """Print a line from which a shell gets the very secret, whatever characters it has."""
    secret = 'it\'s $HOME & "more" \\'
    export = command("local", "notify", ADDRESS, "--secret", secret).out.splitlines()[1]
    assert shlex.split(export) == ["export", f"ENCORD_WEBHOOK_SECRET={secret}"]


@pytest.mark.parametrize(("option", "value"), [("--batch-size", "0"), ("--max-wait", "-0.1"), ("--max-wait", "soon")])
def test_numbers_that_make_no_sense(command: Command, platform: LocalPlatform, option: str, value: str) -> None:
    """Name the option, and register nothing."""
    ran = command("local", "notify", ADDRESS, option, value)
    assert ran.code == 2
    assert option in ran.words
    assert stored(platform) == []


@pytest.mark.parametrize(
    ("address", "options", "said"), [*MISTAKES, (ADDRESS, ["--secret", "two\nlines"], "printable characters")]
)
def test_mistakes(command: Command, platform: LocalPlatform, address: str, options: list[str], said: str) -> None:
    """End in a message with exit code 2, print no secret, and register nothing."""
    ran = command("local", "notify", address, *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert stored(platform) == []


# Removing


@pytest.fixture
def registered(platform: LocalPlatform, project: LocalProject) -> LocalPlatform:
    """An address for one project and for all of them, and another one that it begins with."""
    platform.receivers.add(ADDRESS, project=project.project_hash)
    platform.receivers.add(ADDRESS)
    platform.receivers.add(f"{ADDRESS}/more")
    return platform


@pytest.mark.parametrize("typed", [ADDRESS, f"{ADDRESS}/", f" {ADDRESS} ", f"{ADDRESS}#part"])
def test_an_address_is_removed(command: Command, registered: LocalPlatform, typed: str) -> None:
    """Remove each registration of the address, with or without a slash at its end, and no other address."""
    assert command("local", "notify", typed, "--remove").out == "2 registrations removed.\n"
    assert [one.address for one in registered.receivers] == [f"{ADDRESS}/more"]


def test_an_address_is_removed_from_one_project(command: Command, registered: LocalPlatform) -> None:
    """Remove the registration for this project, and leave the one for all projects."""
    ran = command("local", "notify", ADDRESS, "--project", "Project", "--remove")
    assert ran.out == "1 registration removed.\n"
    assert [one.project for one in registered.receivers] == [None, None]


def test_an_address_is_removed_from_one_stage(command: Command, platform: LocalPlatform) -> None:
    """Remove the registration for this stage, and leave those for another one and for all of the project's."""
    project = platform.create_project(workflow=TWO_STAGES, title="Two")
    for stage in (None, "A", "B"):
        platform.receivers.add(ADDRESS, project=project.project_hash, stage=stage)
    ran = command("local", "notify", ADDRESS, "--project", "Two", "--stage", "B", "--remove")
    assert ran.out == "1 registration removed.\n"
    assert [one.stage for one in platform.receivers] == [None, project.stage("A").uuid]


@pytest.mark.parametrize(("address", "options", "said"), MISTAKES)
def test_mistakes_remove_nothing(
    command: Command, registered: LocalPlatform, address: str, options: list[str], said: str
) -> None:
    """End in the message that registering has, and leave all as it is."""
    ran = command("local", "notify", address, *options, "--remove")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(registered.receivers) == 3


def test_an_address_that_is_not_registered(command: Command, registered: LocalPlatform) -> None:
    """Say that nothing was removed, and register nothing."""
    ran = command("local", "notify", "http://127.0.0.1:10/", "--remove")
    assert (ran.code, ran.out) == (0, "0 registrations removed.\n")
    assert len(registered.receivers) == 3


# Listing


@pytest.fixture
def sent(registered: LocalPlatform) -> Notification:
    """A notification of the project's two tasks, which was not tried yet."""
    service = registered._service
    notifications.collect(service.database, service.catalogue, time.time() + 60)
    return next(one for one in registered.receivers.sent() if one.address == ADDRESS)


def test_nobody_is_notified(command: Command, platform: LocalPlatform) -> None:
    """Say how to register an address, without an empty table."""
    ran = command("local", "notifications")
    assert ran.out == "Nobody is notified: `encord-agents local notify ADDRESS` registers an address.\n"


def test_addresses_are_listed(command: Command, registered: LocalPlatform) -> None:
    """Show of each address which project it hears of, without a table as long as nothing was sent, and no secret."""
    ran = command("local", "notifications")
    assert ran.out.splitlines() == [
        f"{ADDRESS} (Project)",
        f"{ADDRESS} (all projects)",
        f"{ADDRESS}/more (all projects)",
    ]


def table(command: Command) -> list[list[str]]:
    """The rows below the addresses."""
    lines = [line.split() for line in command("local", "notifications").out.splitlines()]
    return lines[lines.index(["time", "stage", "tasks", "address", "status", "tries", "answer"]) + 1 :]


def test_notifications_are_listed(command: Command, registered: LocalPlatform, sent: Notification) -> None:
    """Show the stage's title, the number of tasks and the tries of each, the latest first."""
    rows = table(command)
    assert [row[1:] for row in rows] == [
        ["Agent", "2", address, "waiting", "0"] for address in (f"{ADDRESS}/more", ADDRESS, ADDRESS)
    ]


def test_the_time_of_a_notification(
    command: Command, registered: LocalPlatform, sent: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show when it was tried last; as long as it was not, when it was made."""
    made, tried = 1_700_000_000.0, 1_700_000_061.0
    found = [replace(sent, created_at=made, sent_at=tried), replace(sent, created_at=made, sent_at=None)]
    monkeypatch.setattr(Receivers, "sent", lambda _: found)
    assert [row[0] for row in table(command)] == [f"{datetime.fromtimestamp(at):%H:%M:%S}" for at in (tried, made)]


def test_a_stage_that_is_not_known(
    command: Command, registered: LocalPlatform, sent: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show its uuid in the place of its title."""
    monkeypatch.setattr(Receivers, "sent", lambda _: [replace(sent, stage="0000-1111")])
    assert table(command)[0][1] == "0000-1111"


def test_only_the_latest_are_listed(
    command: Command, registered: LocalPlatform, sent: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show fifty, however many are remembered."""
    found = [replace(sent, pending=number) for number in range(51)]
    monkeypatch.setattr(Receivers, "sent", lambda _: found)
    assert [row[2] for row in table(command)] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("notify", ["--project", "--stage", "--secret", "--batch-size", "--max-wait", "--remove", "--data"]),
        ("notifications", ["--data"]),
    ],
)
def test_help(command: Command, name: str, shown: list[str]) -> None:
    """Name every option."""
    ran = command("local", name, "--help")
    assert ran.code == 0
    assert [option for option in shown if option not in ran.out] == []
