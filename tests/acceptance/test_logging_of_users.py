"""Logging set-ups of programs that raise do nothing to a task or a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, Driver

from encord_agents.local import Fault

if TYPE_CHECKING:
    from tests.conftest import World

LOGGER = logging.getLogger("encord_agents")


class Refused(Exception):  # noqa: N818
    retry_after = 0.01


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("no room for records")


class Assuming(logging.Filter):
    """As filters do that expect the records of one logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.request_id)  # type: ignore[attr-defined]


def filtered() -> logging.Handler:
    handler = logging.NullHandler()
    handler.addFilter(Assuming())
    handler.handle = lambda record: logging.Handler.handle(handler, record)  # type: ignore[method-assign]
    return handler


@pytest.fixture
def everything_logged() -> Iterator[None]:
    before = LOGGER.level
    LOGGER.setLevel(1)
    yield
    LOGGER.setLevel(before)


def agent(task: AgentTask) -> str:
    match int(task.data_title[6:11]):
        case 3:
            raise ValueError("no")
        case 4:
            raise Refused
    return "complete"


@pytest.mark.usefixtures("everything_logged")
@pytest.mark.parametrize("kind", [Broken, filtered])
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_handlers_and_filters_that_raise(world: World, driver: Driver, kind: Any) -> None:
    """Failures, retries and outages are logged, or not; nothing else depends on that."""
    world.project.add_placeholders(8)
    world.platform.faults.add(Fault("actions", times=1, status=503))
    handler = kind()
    LOGGER.addHandler(handler)
    try:
        told = driver.run(world, agent, num_retries=1)
    finally:
        LOGGER.removeHandler(handler)
    assert told.counts == {"moved": 6, "failed": 2}


@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_record_factory_with_fields_of_ours(
    world: World, driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program whose records all have a ``stage`` keeps it, and each failure is logged."""
    world.project.add_placeholders(3)
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **options: Any) -> logging.LogRecord:
        record = usual(*args, **options)
        record.stage = "production"
        return record

    def fails() -> None:
        raise ValueError("no")

    logging.setLogRecordFactory(factory)
    try:
        assert driver.run(world, fails).counts == {"failed": 3}
    finally:
        logging.setLogRecordFactory(usual)
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 3
    assert {record.stage for record in failures} == {"production"}  # type: ignore[attr-defined]
    assert all(record.task_uuid for record in failures)  # type: ignore[attr-defined]
