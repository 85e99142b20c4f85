"""Recognition of exceptions that end the program rather than tell of a failure, and of those of signal handlers.

A program may have a signal handler of its own, such as one for SIGTERM that calls ``sys.exit()``. Python runs it in the
main thread, at any line: what it raises is no fault of the code that it hits.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType

from encord_agents.core.tracebacks import chain, is_a, members, traceback_of

__all__ = ["Interrupt", "frames", "interrupt_in", "raised_by_signal"]


class Interrupt(BaseException):
    """Base class for the caller's own exceptions that pass through an attempt and do not count as its failure."""


def interrupt_in(error: BaseException | None) -> BaseException | None:
    """Return ``error``, or the member of a group, that interrupts the program; ``None`` if there is none.

    It is a `KeyboardInterrupt`, an `Interrupt`, or a signal handler's, unless that is an `Exception`: with these, code
    limits its own time.
    """
    for one in () if error is None or is_a(error, Exception) else members(error):
        if is_a(one, (KeyboardInterrupt, Interrupt)):
            return one
        if not is_a(one, (Exception, BaseExceptionGroup)) and _is_of_a_handler(one, set(_handlers())):
            return one
    return None


def raised_by_signal(error: BaseException, *, handled: BaseException | None = None) -> BaseException | None:
    """Return ``error``, or an exception that led to it, if a signal handler raised that; otherwise ``None``.

    Args:
        handled: An exception that does not count, nor does what led to it.
    """
    handlers = set(_handlers())
    before = {id(one) for one in chain(handled)}
    return next((one for one in chain(error) if id(one) not in before and _is_of_a_handler(one, handlers)), None)


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an exception's traceback."""
    traceback = traceback_of(error)
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_of_a_handler(error: BaseException, handlers: set[CodeType]) -> bool:
    return not handlers.isdisjoint(frame.f_code for frame in frames(error))


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
