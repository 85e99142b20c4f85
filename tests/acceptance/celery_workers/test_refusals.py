"""A Redis that lets workers talk to each other, and keeps no holds for them; and label rows over several workers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.brokers import until

if TYPE_CHECKING:
    import redis
    from tests.acceptance.celery_workers.conftest import Site

PAGE = Path(__file__).parents[3] / "docs" / "queue_runner.md"

pytestmark = pytest.mark.parametrize("broker", ["redis"], indirect=True)


@pytest.fixture
def limited(site: Site) -> Iterator[tuple[redis.Redis, Callable[..., None]]]:
    """What gives a user rights; the workers that are started then are that user."""
    import redis

    with redis.Redis.from_url(site.broker.url) as client:

        def allow(*rights: str) -> None:
            client.execute_command("ACL", "SETUSER", "agents", *rights)
            site.settings["AGENTS_BROKER"] = site.broker.url.replace("://", "://agents:password@")

        yield client, allow
        client.execute_command("ACL", "DELUSER", "agents")


def test_a_user_without_rights_is_waited_for(site: Site, limited: tuple[redis.Redis, Callable[..., None]]) -> None:
    """The pauses between deliveries grow, one line says what is missing, and nothing is lost when it is given."""
    _, allow = limited
    site.world.project.add_placeholders(3)
    site.enqueue()
    allow("on", ">password", "~celery*", "~_kombu*", "~unacked*", "~*pidbox*", "&*", "+@all")
    site.start(concurrency=1)
    assert until(lambda: len(re.findall(r"retry: asked again in", site.log())) >= 3), site.log()
    assert re.findall(r"retry: asked again in (\d+) s", site.log())[:3] == ["1", "2", "4"]
    assert 1 <= site.log().count("cannot see which tasks are at work") < 3
    assert "ACL SETUSER <user> '~encord-agents:*'" in site.log()
    assert "Traceback" not in site.log()
    assert site.count("begin") == 0
    allow("~encord-agents:*")
    assert until(lambda: site.world.count("Done") == 3)
    site.check_all_moved(3)


def test_the_rights_of_the_documentation(site: Site, limited: tuple[redis.Redis, Callable[..., None]]) -> None:
    """A user with those and no others sends, works, polls and looks."""
    client, allow = limited
    (line,) = re.findall(r"^ACL SETUSER agents (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    allow(*line.split())
    client.execute_command("ACL", "LOG", "RESET")
    site.settings["AGENTS_POLL"] = "1"
    site.world.project.add_placeholders(10)
    assert "10 tasks sent." in site.command("enqueue")
    site.start("--beat", "--schedule", str(site.folder / "beat"))
    assert until(lambda: site.world.count("Done") == 10)
    site.world.project.add_placeholders(2)
    assert until(lambda: site.world.count("Done") == 12)
    assert site.command("status").split()[-3:] == ["0", "12", "0"]
    refused = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in client.execute_command("ACL", "LOG")]
    assert not refused


def test_a_label_row_is_at_work_in_one_worker_at_a_time(site: Site) -> None:
    """Two tasks of one row in two messages: the second begins when the first is written, and both are moved."""
    site.settings |= {"AGENTS_SECONDS": "1", "AGENTS_BATCH": "1"}
    (unit,) = site.world.project.add_placeholders(1)
    site.world.project.add_task(unit)
    site.enqueue()
    site.start(workers=2, concurrency=1)
    assert until(lambda: site.world.count("Done") == 2)
    calls = site.calls()
    assert len({call.task for call in calls}) == len(calls) == 2
    for call, following in itertools.pairwise(calls):
        assert call.ended is not None
        assert following.began >= call.ended
