"""Logs and reports cannot be forged by other people's text, and contain no secret, at any level."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver, Processes

from encord_agents.core.assets import Asset
from encord_agents.exceptions import TasksFailedError
from encord_agents.local import Fault

if TYPE_CHECKING:
    from tests.conftest import World

EVIL = "\x1b[31mRED\x1b]0;owned\x07\nINJECTED failed: 0\r\n\x9b31m\u202egnp.exe\u2028LS\x85NEL\u200b\x7f"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e]|^\\s*INJECTED", re.MULTILINE)


@pytest.fixture
def log() -> io.StringIO:
    """The output of the root logger's handler, at every level."""
    return io.StringIO()


@pytest.fixture(autouse=True)
def listening(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    monkeypatch.setattr(root, "handlers", [*root.handlers, handler])
    monkeypatch.setattr(root, "level", logging.DEBUG)


def test_nothing_is_forged(world: World, log: io.StringIO) -> None:
    """Titles and messages stay on their line, escaped; the lines of a traceback are marked."""
    for number in range(3):
        world.project.add_image(f"{number}{EVIL}")

    def agent(task: AgentTask) -> str | None:
        if task.data_title.startswith("0"):
            raise ValueError(EVIL)
        return "complete" if task.data_title.startswith("1") else None

    report = world.run(agent, num_retries=1)
    ours = "\n".join(line for line in log.getvalue().split("\n") if "urllib3" not in line)
    assert "INJECTED" in ours
    assert "  | ValueError" in ours
    with pytest.raises(TasksFailedError) as caught:
        report.raise_for_failures()
    for text in (ours, str(report), str(caught.value)):
        assert not STEERING.search(text), STEERING.search(text)


def test_long_text_is_cut(world: World, log: io.StringIO) -> None:
    """A page in a message is cut in the log; the report's record has it whole."""
    world.project.add_image("image")

    def agent() -> None:
        raise ValueError("page " * 50_000)

    report = world.run(agent, num_retries=0)
    assert "more characters" in log.getvalue()
    assert max(map(len, log.getvalue().split("\n"))) < 10_000
    assert len(str(report.failures[0].to_dict()["error"])) > 200_000


def test_no_secrets(world: World, log: io.StringIO) -> None:
    """Neither the signature of a file's address nor the key is logged, with files, downloads that fail, and retries."""
    for number in range(4):
        world.project.add_image(f"image {number}")
    world.platform.faults.add(Fault("asset", status=503))
    world.platform.faults.add(Fault("asset", status=403, times=2, skip=1))
    world.platform.faults.add(Fault("asset", action="drop_before"))
    addresses = []

    def agent(asset: Asset) -> str:
        addresses.append(asset.item.get_signed_url())
        asset.path()
        return "complete"

    world.run(agent, num_retries=1, max_outage=5)
    assert addresses
    text = log.getvalue()
    assert "urllib3" in text
    signatures = {str(address).partition("signature=")[2] for address in addresses}
    assert all(signatures)
    for secret in [*signatures, "signature=", *world.platform.ssh_key.split("\n")[1:3]]:
        assert secret not in text


def asks_a_signed_address() -> None:
    """Fail as an agent that has asked an address by itself."""
    try:
        raise OSError("Max retries exceeded with url: /a.jpg?X-Amz-Date=1&X-Amz-Signature=TOPSECRET (Caused by x)")
    except OSError as error:
        raise ValueError(
            "403 for url: https://b/a.jpg?X-Amz-Signature=TOPSECRET and ?q=a cat, as https://me:TOPSECRET@b/ with "
            "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----"
        ) from error


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_no_secrets_of_agents(world: World, log: io.StringIO, driver: Driver) -> None:
    """Signatures, passwords and keys in an agent's own exception are not shown: in logs, reports, answers and files."""
    check_no_secrets(world, log, driver)


def test_no_secrets_of_agents_over_processes(world: World, log: io.StringIO, tmp_path: Path) -> None:
    """Nor from worker processes."""
    check_no_secrets(world, log, Processes(tmp_path))


def check_no_secrets(world: World, log: io.StringIO, driver: Driver) -> None:
    world.project.add_placeholders(2)
    told = driver.run(world, asks_a_signed_address, num_retries=1)
    assert told.counts == {"failed": 2}
    seen = [log.getvalue(), *told.errors]
    if told.report is not None:
        seen += [str(told.report), told.report._repr_html_(), *(str(one.to_dict()) for one in told.report.failures)]
        with pytest.raises(TasksFailedError) as caught:
            told.report.raise_for_failures()
        seen.append(str(caught.value))
    assert not [text for text in seen if "TOPSECRET" in text]
    assert all("https://b/a.jpg?*** and ?q=a cat" in error for error in told.errors)
