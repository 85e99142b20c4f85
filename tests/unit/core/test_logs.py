"""Loggers that do not raise."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from encord_agents.core.logs import get_logger


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(3)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = get_logger("encord_agents.of_this_test")
    found._has_shown = False  # type: ignore[attr-defined]
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)


def test_what_a_handler_raises_is_shown_once(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with its traceback and the message, as `logging` shows its own."""
    logger.addHandler(Broken())
    for number in range(3):
        logger.error("message %d", number)
    shown = capsys.readouterr().err
    assert shown.count("Logging error") == shown.count("SystemExit: 3") == 1
    assert "message %d" in shown


def test_records_name_their_caller(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """File, line and function are those of the line that logs."""
    logger.warning("here")
    (record,) = caplog.records
    assert (record.pathname, record.funcName) == (__file__, "test_records_name_their_caller")


def test_an_interrupt_passes(logger: logging.Logger) -> None:
    """A Ctrl-C is nobody's mistake."""

    def interrupt(record: logging.LogRecord) -> bool:
        raise KeyboardInterrupt

    logger.addFilter(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            logger.error("x")
    finally:
        logger.removeFilter(interrupt)


def test_a_class_of_the_programs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger of such a class stays one."""

    class Own(logging.Logger):
        def _log(self, *args: object, **options: object) -> None:
            raise RuntimeError("own")

    usual = logging.getLoggerClass()
    logging.setLoggerClass(Own)
    try:
        logger = get_logger("encord_agents.of_this_test.own")
        again = get_logger("encord_agents.of_this_test.own")
    finally:
        logging.setLoggerClass(usual)
    assert isinstance(logger, Own)
    assert again is logger
    logger.error("does not raise")
