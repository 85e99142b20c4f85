"""The teardown of run-scoped dependencies: its exceptions are told, since they come too late to fail the run."""

from __future__ import annotations

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described, formatted
from encord_agents.tasks.engine.report import RunReport

__all__ = ["tear_down"]

logger = get_logger(__name__)


def tear_down(scope: RunScope, report: RunReport | None = None) -> None:
    """Close a scope, and tell the exceptions of its teardowns in the log and in the report.

    Raises:
        KeyboardInterrupt: It was interrupted; the others were torn down all the same. It may be called again.
    """
    try:
        scope.close()
    finally:
        while scope.errors:
            name, exception = scope.errors.pop(0)
            logger.error(
                "%s(), which is made once per run, raised when it was torn down. What the run did stands.\n%s",
                *(name, formatted(exception).rstrip()),
            )
            if report is not None:
                report.teardown_errors.append(f"{name}(): {described(exception)}")
