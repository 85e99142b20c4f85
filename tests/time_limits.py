"""The exception of a time limit, as a task queue raises it in a thread: the code that it cuts off knows nothing of it.

Import the module and not the class, so that no test is code that knows its package.
"""

from __future__ import annotations


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - Celery's name
    """As billiard's."""

    __module__ = "billiard.exceptions"
