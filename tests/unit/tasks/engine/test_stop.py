"""Stopping: no new task, then leave now."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from encord_agents.tasks.engine.stop import Leaving, Stop, signals


def test_a_request_ends_a_wait() -> None:
    """Whoever waits is told that a stop was requested."""
    stop = Stop()
    assert stop.wait(0.001) is False
    timer = threading.Timer(0.02, stop.request)
    timer.start()
    started = time.monotonic()
    assert stop.wait(10) is True
    assert time.monotonic() - started < 5
    timer.join()


def test_a_pause_outlasts_a_request_but_not_leaving() -> None:
    """Finished work is still written after a request; leaving ends that too."""
    stop = Stop()
    stop.request()
    stop.pause(0.001)
    stop.leave()
    with pytest.raises(Leaving):
        stop.pause(10)


def test_the_first_reason_counts() -> None:
    """A later one does not overwrite it, and a request without one does not either."""
    stop = Stop()
    stop.request()
    assert (stop.requested, stop.leaving, stop.reason) == (True, False, None)
    stop.request("terminate")
    stop.request("interrupt")
    assert stop.reason == "terminate"


def test_leaving_is_no_exception_that_anyone_retries() -> None:
    """It passes `except Exception`."""
    assert not issubclass(Leaving, Exception)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs between two bytecodes


def test_signals() -> None:
    """SIGTERM is noted; Ctrl-C interrupts user code and never the engine; the second leaves at once."""
    left: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    stop = Stop()
    with signals(stop, leave_at_once=left.append):
        send(signal.SIGTERM)
        assert (stop.requested, stop.reason, left) == (True, "terminate", [])
        send(signal.SIGINT)
        assert left == [130]
    stop = Stop()
    with signals(stop, leave_at_once=left.append):
        send(signal.SIGINT)
        assert (stop.reason, left) == ("interrupt", [130])
        send(signal.SIGTERM)
        assert left == [130, 143]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_in_user_code() -> None:
    """There, Ctrl-C is a KeyboardInterrupt, as a user would expect."""
    stop = Stop()
    with signals(stop, leave_at_once=lambda code: None):
        with stop.interruptible(), pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert not stop.runs_user_code
    assert stop.reason == "interrupt"
