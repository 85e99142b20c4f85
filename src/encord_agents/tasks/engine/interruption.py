"""Recognition of exceptions that cut a request off from outside, such as a time limit, in contrast to its own errors.

Task queues end a job that takes too long with an exception that a signal handler raises, at any line. It says nothing
about the request that it hits, which may have been carried out. The SDK wraps it, like any other exception, in one of
its own.

It is recognised by where it comes from: a signal handler raised it, or it belongs to a package that no code of the
request is part of or imports. Whatever the SDK's libraries raise while they read an answer is therefore the request's
own, whichever libraries these are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType

from encord.exceptions import EncordException

from encord_agents.core.interrupts import frames, raised_by_signal

__all__ = ["interruption"]


def interruption(error: Exception, *, handled: BaseException | None = None) -> BaseException | None:
    """Return the exception that cut a request off from outside, or ``None`` if the request failed on its own.

    Args:
        error: The exception of the request.
        handled: The exception that was being handled when the request began, which is in the chain of any new one.
    """
    if (raised := raised_by_signal(error, handled=handled)) is not None:
        return raised
    candidates = [error]
    if isinstance(error, EncordException) and isinstance(error.__cause__, Exception):
        candidates.append(error.__cause__)  # the exception of `Session.send`, wrapped by the SDK
    return next((one for one in candidates if not _is_of_the_request(one)), None)


def _is_of_the_request(error: Exception) -> bool:
    """Return True if the code that an exception passed through may have raised it, since it knows its package."""
    package = _package(type(error).__module__)
    if package in sys.stdlib_module_names or isinstance(error, EncordException):
        return True
    return any(package in _packages_known_to(frame) for frame in frames(error))


def _packages_known_to(frame: FrameType) -> Iterator[str]:
    """Yield the package of a frame's code, and those from which its module imports."""
    yield _package(frame.f_globals.get("__name__"))
    for value in tuple(frame.f_globals.values()):
        if isinstance(value, ModuleType):
            yield _package(value.__name__)
        elif isinstance(value, type | FunctionType | BuiltinFunctionType):
            yield _package(value.__module__)


def _package(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""
