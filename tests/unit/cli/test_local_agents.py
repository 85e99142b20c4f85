"""`encord-agents local agents`: names and addresses of editor agents, as they are typed and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encord_agents.local import LocalPlatform

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

ADDRESS = "http://127.0.0.1:8080/box"


def test_a_name_with_blanks_around_it(command: Command, platform: LocalPlatform) -> None:
    """Register the agent, and name it in the message, without the blanks."""
    ran = command("local", "agents", "add", "  my box ", ADDRESS)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("my box is registered:")
    assert platform.editor_agents() == {"my box": ADDRESS}


def test_another_address(command: Command, platform: LocalPlatform) -> None:
    """Replace the address that the agent had, and leave the list in its order."""
    for name, address in (("box", ADDRESS), ("other", ADDRESS), ("box", "http://localhost:1/new")):
        assert command("local", "agents", "add", name, address).code == 0
    listed = command("local", "agents", "list")
    assert listed.out == f"box  http://localhost:1/new\nother  {ADDRESS}\n"


def test_an_empty_list(command: Command, platform: LocalPlatform) -> None:
    """Say how to register an agent, and exit with 0."""
    ran = command("local", "agents", "list")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "No editor agent is registered: `encord-agents local agents add NAME ADDRESS` registers one.\n"


@pytest.mark.parametrize(
    ("name", "address", "options", "said"),
    [
        ("x" * 81, ADDRESS, [], "1 to 80 printable characters"),
        (" ", ADDRESS, [], "1 to 80 printable characters"),
        ("box", "nonsense", [], "is not an http or https address"),
        ("box", "https://agents.example.com/box", [], "--elsewhere"),
        ("box", "http://somebody:hunter2@127.0.0.1/box", [], "Leave user and password out"),
        ("box", "http://somebody:hunter2@127.0.0.1/box", ["--elsewhere"], "Leave user and password out"),
    ],
)
def test_names_and_addresses_that_cannot_be_used(
    command: Command, platform: LocalPlatform, name: str, address: str, options: list[str], said: str
) -> None:
    """End in a message with exit code 2 that shows no password, and register nothing."""
    ran = command("local", "agents", "add", name, address, *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "hunter2" not in ran.err
    assert platform.editor_agents() == {}


def test_the_longest_name(command: Command, platform: LocalPlatform) -> None:
    """Take a name of 80 characters, and remove it by the same name."""
    assert command("local", "agents", "add", "x" * 80, ADDRESS).code == 0
    assert command("local", "agents", "remove", "x" * 80).out == f"{'x' * 80} is no longer registered.\n"
    assert platform.editor_agents() == {}


def test_a_name_with_blanks_is_removed(command: Command, platform: LocalPlatform) -> None:
    """Remove the agent that the same words have registered."""
    command("local", "agents", "add", " box ", ADDRESS)
    assert command("local", "agents", "remove", " box ").out == "box is no longer registered.\n"


def test_a_name_that_is_not_registered(command: Command, platform: LocalPlatform) -> None:
    """List the names that are registered, and leave them so."""
    platform.add_editor_agent("box", ADDRESS)
    ran = command("local", "agents", "remove", "fox")
    assert (ran.code, ran.out) == (2, "")
    assert "no editor agent 'fox'. Registered: 'box'." in ran.err
    assert [*platform.editor_agents()] == ["box"]


@pytest.mark.parametrize("words", [["add", "box", ADDRESS], ["list"], ["remove", "box"]], ids=lambda words: words[0])
def test_without_a_platform(command: Command, words: list[str]) -> None:
    """Say that there is none in that directory, and exit with 2."""
    ran = command("local", "agents", *words, "--data", "elsewhere")
    assert ran.code == 2
    assert "There is no local platform in elsewhere." in ran.err


@pytest.mark.parametrize(("words", "missing"), [(["add", "box"], "ADDRESS"), (["add"], "NAME"), (["remove"], "NAME")])
def test_an_argument_that_is_missing(command: Command, words: list[str], missing: str) -> None:
    """Name the argument, and exit with 2."""
    ran = command("local", "agents", *words)
    assert ran.code == 2
    assert f"Missing argument '{missing}'" in ran.words
