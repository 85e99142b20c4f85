"""Loggers that do not raise: an error in a user's handler, filter or record factory must not fail a task or end a run.

The `logging` module leaves it to handlers to catch their own exceptions, and does not catch those of filters and record
factories. They would propagate from any line that logs: in an engine's thread, or in a request.
"""

from __future__ import annotations

import logging
from typing import Any

from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.tracebacks import contained, marked

__all__ = ["get_logger"]


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name, which from now on does not raise, and shows tracebacks as `marked` does."""
    logger = logging.getLogger(name)
    if not isinstance(logger, _Contained):
        own = type(logger)  # a program may have set a class of its own
        logger.__class__ = _Contained if own is logging.Logger else type(own.__name__, (_Contained, own), {})
        logger.addFilter(_mark_traceback)
    return logger


class _Contained(logging.Logger):
    """A logger that catches exceptions of the code it calls, and prints the first to stderr as `logging` does."""

    _has_shown = False

    def _log(self, level: int, msg: object, args: Any, *rest: Any, **options: Any) -> None:
        options["stacklevel"] = options.get("stacklevel", 1) + 1  # one more frame: this one
        try:
            super()._log(level, msg, args, *rest, **options)
        except BaseException as error:  # it is the user's code
            if interrupt_in(error) is not None:
                raise
            if not self._has_shown:
                self._has_shown = True
                with contained:
                    logging.Handler.handleError(logging.NullHandler(), _record(self.name, level, msg, args))

    def makeRecord(self, *args: Any, **options: Any) -> logging.LogRecord:  # noqa: N802 - as `logging` calls it
        """Make a record without those of our extra fields that the program's record factory has set."""
        try:
            return super().makeRecord(*args, **options)
        except KeyError:
            *args_, func, extra, sinfo = args
            record: logging.LogRecord = super().makeRecord(*args_, func, None, sinfo, **options)  # type: ignore[call-arg]
            vars(record).update({key: value for key, value in (extra or {}).items() if key not in vars(record)})
            return record


def _mark_traceback(record: logging.LogRecord) -> bool:
    """Make formatters show a record's traceback as `marked` does: they reuse `exc_text`, their own cached text."""
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        record.exc_text = marked(record.exc_info[1])
    return True


def _record(name: str, level: int, message: object, args: Any) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 0, message, args, None)
