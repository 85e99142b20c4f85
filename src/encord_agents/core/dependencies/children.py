"""Child processes that user code forks, as ``os.fork()`` does: each ends where that code ends, as a script does.

A child that returned from there would carry on its parent's run: call agents, save and move the same tasks.
`multiprocessing` ends its children itself, before they get here.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import TracebackType

from encord_agents.core.tracebacks import formatted, is_a

__all__ = ["ChildrenEnd"]

_CODE = SystemExit.__dict__["code"]
_GENERATOR_ENDED = (StopIteration, StopAsyncIteration)

_forks = 0
"""The number of forks that led to this process. Read around every call, where `os.getpid()` would be a system call."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_count_fork)


class ChildrenEnd:
    """A context manager around user code: only the process that enters it leaves it, others end.

    Their exit code is that of a `SystemExit`, 1 after any other exception, and 0 otherwise.
    """

    __slots__ = ("_forks",)

    def __enter__(self) -> None:
        self._forks = _forks

    def __exit__(self, _: type[BaseException] | None, raised: BaseException | None, __: TracebackType | None) -> None:
        if _forks != self._forks:
            _end(raised)


def _end(raised: BaseException | None) -> None:
    """End this process without its exit handlers and threads, which are the parent's."""
    code = 1
    try:
        code, last_words = _status(raised)
        # Not `sys.stderr`: live bars replace it, and one of the parent's threads may have held their lock.
        for stream, text in ((sys.stdout, ""), (sys.stderr, ""), (sys.__stderr__, last_words)):
            with suppress(Exception):  # it is closed, or nobody reads it
                if stream is not None:
                    stream.write(text)
                    stream.flush()
    finally:
        os._exit(code)


def _status(raised: BaseException | None) -> tuple[int, str]:
    """Return the exit code that Python gives a script that ends so, and its last words."""
    if raised is None or is_a(raised, _GENERATOR_ENDED):
        return 0, ""
    if not is_a(raised, SystemExit):
        return 1, formatted(raised)
    code = _CODE.__get__(raised)
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF, ""
    return 1, f"{code}\n"
