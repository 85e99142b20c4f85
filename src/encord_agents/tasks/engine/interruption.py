"""Recognition of exceptions that cut a request off from outside, such as a time limit, in contrast to its own errors.

Task queues end a job that takes too long with an exception that a signal handler raises, at any line. It says nothing
about the request that it hits, which may have been carried out. The SDK wraps it, like any other exception, in one of
its own.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType

from encord.exceptions import EncordException

from encord_agents.core.tracebacks import chain, traceback_of

__all__ = ["interruption", "raised_by_signal"]

OF_REQUESTS = sys.stdlib_module_names | {"encord", "encord_agents", "pydantic", "pydantic_core", "requests", "urllib3"}
"""Packages whose exceptions may be a request's own: those that make it, serialise it, and read its answer."""


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
    return next((one for one in candidates if type(one).__module__.partition(".")[0] not in OF_REQUESTS), None)


def raised_by_signal(error: BaseException, *, handled: BaseException | None = None) -> BaseException | None:
    """Return ``error``, or an exception that led to it, if a signal handler raised that; otherwise ``None``."""
    handlers = set(_handlers())
    before = {id(one) for one in chain(handled)}
    for one in chain(error):
        if id(one) not in before and not handlers.isdisjoint(_codes(one)):
            return one
    return None


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        if not isinstance(handler, FunctionType | MethodType):
            handler = getattr(type(handler), "__call__", None)  # noqa: B004 - the handler is a callable object
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _codes(error: BaseException) -> Iterator[CodeType]:
    traceback = traceback_of(error)
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
