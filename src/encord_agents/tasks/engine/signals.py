"""Signals that stop runs. The handlers act only in the process that installed them, not in its forked children."""

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
In another thread, pass a Stop to the run, and call its request() from anywhere to end the run:
    from encord_agents.tasks.engine.stop import Stop
    stop = Stop()
    runner(stop=stop)"""

_replaced: list[dict[int, Any]] = []
"""The handlers that ours have replaced and that are not restored yet, the oldest first."""


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Make Ctrl-C, SIGTERM and SIGHUP stop runs cleanly inside the block, as they do on the command line.

    ::

        with stop_on_signals() as stop:
            report = runner(stop=stop)  # or runner.drain(stop=stop)
        sys.exit(stop.exit_code or report.exit_code)

    After SIGTERM or SIGHUP no new task is taken, tasks being attempted are finished, finished tasks are written within
    30 s, and the call returns its report. A Ctrl-C also interrupts the agent or dependency that runs in the main
    thread, and the call raises `KeyboardInterrupt` at its end; outside a run, it is raised at once. A second signal
    ends the process at once, whatever it is doing.

    The previous handlers are restored at the end. Forked children do not have these handlers. A signal that the process
    ignores stays ignored: SIGHUP under ``nohup``, Ctrl-C in a background job of a shell script.

    Yields:
        The stop that the signals request. Pass it to any number of runs, in this thread or others. Its ``exit_code``
        is that of the signal that came, otherwise ``None``.

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
        with suppress(ValueError):  # a forked child has restored them already
            _replaced.remove(before)


def hold_off_signals() -> None:
    """Make this process disregard Ctrl-C, SIGTERM and SIGHUP from now on, since its parent decides when it ends.

    The signals are handled rather than ignored, because its child processes would inherit an ignored signal.
    """
    _install(lambda *_: None)


def _install(handle: Handler) -> dict[int, Any]:
    """Install a handler for each signal, and return the previous handlers."""
    before = {
        number: handler
        for number in REASONS
        # A handler that was not installed from Python (None) could not be restored.
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    _replaced.append(before)  # before installing, so that a child forked in between restores them
    for number in before:
        signal.signal(number, handle)
    return before


def _restore_in_child() -> None:
    """Restore, in a forked child, the handlers that it would have without this library.

    It has nothing to stop cleanly; and its parent may end it by SIGTERM and wait for that, as `multiprocessing.Pool`
    does. The thread that forked is the child's main thread, so it may set handlers.
    """
    while _replaced:
        for number, handler in _replaced.pop().items():
            with suppress(ValueError):  # raised in a subinterpreter
                signal.signal(number, handler)
    _unblock()


_forking = threading.local()


def _block_for_fork() -> None:
    """Block signals in the thread that forks.

    A signal that reached the child before its handlers are restored would call ours, or be cleared by the interpreter
    together with the parent's: a `multiprocessing.Pool` that terminates its workers at once would then wait forever.
    """
    if _replaced:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)


def _unblock() -> None:
    mask = getattr(_forking, "mask", None)
    if mask is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_block_for_fork, after_in_parent=_unblock, after_in_child=_restore_in_child)


def leave_at_once(code: int) -> None:
    """End the process at the second signal. Runs in a signal handler, so it must not use locks or buffered streams."""
    with suppress(OSError):
        show_cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
        os.write(2, show_cursor + b"Left at once: tasks that were not written yet are still in their stages.\n")
    os._exit(code)
