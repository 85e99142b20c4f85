"""Signals become stops. The handlers act in the process that installed them; its forked children have none of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import EXIT_CODES, Reason, Stop

__all__ = ["hold_off_signals", "stop_on_signals"]

Handler = Callable[[int, FrameType | None], Any]

REASONS: dict[int, Reason] = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminate"}
if hasattr(signal, "SIGHUP"):
    REASONS[signal.SIGHUP] = "hangup"

NOT_HERE = """\
stop_on_signals() can only be used in the main thread: Python lets no other install signal handlers.
In another thread, give the run a Stop, and call its request() from wherever the run is to be ended:
    from encord_agents.tasks.engine.stop import Stop
    stop = Stop()
    runner(stop=stop)"""

_replaced: list[dict[int, Any]] = []
"""What our handlers that are in place now have replaced, the oldest first."""


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """While inside, Ctrl-C, SIGTERM and SIGHUP stop runs cleanly, as they do on the command line.

    ::

        with stop_on_signals() as stop:
            report = runner(stop=stop)  # or runner.drain(stop=stop)
        sys.exit(stop.exit_code or report.exit_code)

    After SIGTERM or SIGHUP no new task is taken, the task at work is finished, what is finished is written within 30 s,
    and the call returns its report. A Ctrl-C also interrupts the agent or dependency that runs in the main thread, and
    the call raises `KeyboardInterrupt` at its end; outside of a run it raises that at once. A second signal ends the
    process at once, whatever it is doing.

    The handlers that were there before are put back at the end. Forked children do not have these handlers. A SIGHUP
    that the process ignores, as one started by ``nohup`` does, stays ignored.

    Yields:
        What the signals request: give it to any number of runs, in this thread or others. Its ``exit_code`` is that of
        the signal that came, else ``None``.

    Raises:
        PrintableError: This is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise PrintableError(NOT_HERE)
    stop = Stop()

    def handle(number: int, _: FrameType | None) -> None:
        reason = REASONS[number]
        if stop.reason is not None:
            leave_at_once(EXIT_CODES[reason])
            return
        stop.request(reason)
        if reason == "interrupt" and stop.is_interruptible:
            raise KeyboardInterrupt

    before = _install(handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        with suppress(ValueError):  # this is a forked child, and has put them back already
            _replaced.remove(before)


def hold_off_signals() -> None:
    """Have this process pass over Ctrl-C, SIGTERM and SIGHUP from now on: its parent says when it is to end.

    The signals are handled, not ignored, for programs that it starts would inherit that.
    """
    _install(lambda *_: None)


def _install(handle: Handler) -> dict[int, Any]:
    """Put a handler in place for each signal, and return the handlers that were there."""
    before = {
        number: handler
        for number in REASONS
        # A handler that was not installed from Python (None) could not be put back.
        if (handler := signal.getsignal(number)) is not None
        and not (REASONS[number] == "hangup" and handler == signal.SIG_IGN)
    }
    _replaced.append(before)  # first, so that it is known to a fork that comes in between
    for number in before:
        signal.signal(number, handle)
    return before


def _restore_in_child() -> None:
    """Give a forked child the handlers that it would have without us.

    It has nothing to stop cleanly; and whoever started it may end it by SIGTERM and wait for that, as
    `multiprocessing.Pool` does. The thread that forked is the child's main thread, so it may do this.
    """
    while _replaced:
        for number, handler in _replaced.pop().items():
            with suppress(ValueError):  # a subinterpreter's
                signal.signal(number, handler)


_forking = threading.local()


def _block_for_fork() -> None:
    """Hold signals back in the thread that forks.

    A signal that reached the child before its handlers are restored would call ours, or be cleared by the interpreter
    with the parent's: a `multiprocessing.Pool` that terminates its workers at once would then wait for ever.
    """
    if _replaced:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)


def _unblock() -> None:
    mask = getattr(_forking, "mask", None)
    if mask is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin_child() -> None:
    _restore_in_child()
    _unblock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_block_for_fork, after_in_parent=_unblock, after_in_child=_begin_child)


def leave_at_once(code: int) -> None:
    """At the second signal. In a signal handler, so nothing here may take a lock or touch a buffered stream."""
    with suppress(OSError):
        show_cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
        os.write(2, show_cursor + b"Left at once: what was not written yet is still in its stage.\n")
    os._exit(code)
