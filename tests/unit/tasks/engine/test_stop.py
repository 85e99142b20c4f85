"""Stopping: no new task, then leave now."""

from __future__ import annotations

import threading

import pytest

from encord_agents.tasks.engine.stop import Leaving, Stop


def test_a_request_ends_a_wait() -> None:
    """Whoever waits is told that a stop was requested."""
    stop = Stop()
    assert stop.wait(0.001) is False
    timer = threading.Timer(0.02, stop.request)
    timer.start()
    assert stop.wait(3600) is True
    timer.join()


def test_a_pause_outlasts_a_request_but_not_leaving() -> None:
    """Finished work is still written after a request; leaving ends that too."""
    stop = Stop()
    stop.request()
    stop.pause(0.001)
    stop.leave()
    with pytest.raises(Leaving):
        stop.pause(3600)


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


def test_a_parent_stops_its_children() -> None:
    """What is asked of it holds for all who share it, and ends their waits; they keep their requests to themselves."""
    parent = Stop()
    child, other = Stop(parent), Stop(parent)
    child.request()
    assert (child.requested, parent.requested, other.requested) == (True, False, False)
    waiting = threading.Thread(target=other.wait, args=(60,))
    waiting.start()
    parent.request("hangup")
    waiting.join(30)
    assert not waiting.is_alive()
    assert (other.requested, other.reason, other.exit_code) == (True, "hangup", 129)
    parent.leave()
    with pytest.raises(Leaving):
        Stop(other).pause(60)


def test_who_waits_leaves_nothing_behind() -> None:
    """A parent that many runs share does not collect who has waited."""
    parent = Stop()
    child = Stop(parent)
    child.wait(0)
    child.pause(0)
    assert (parent._until_requested, parent._until_leaving, child._until_requested) == ([], [], [])


def test_what_a_ctrl_c_interrupts() -> None:
    """Everything but the engine at work; and in that, the user's code."""
    parent = Stop()
    stop = Stop(parent)
    assert parent.is_interruptible
    with stop.at_work():
        assert not parent.is_interruptible
        with stop.interruptible():
            assert parent.is_interruptible
        assert not parent.is_interruptible
    assert parent.is_interruptible


def test_a_ctrl_c_that_was_noted() -> None:
    """Between the engine's look at the stop and the user's code, it is raised on the way in; not into a teardown."""
    stop = Stop()
    stop.request("interrupt")
    with stop.at_work():
        with pytest.raises(KeyboardInterrupt), stop.interruptible():
            pytest.fail("unreachable")
        with stop.interruptible(although_interrupted=True):
            assert stop.is_interruptible
        assert not stop.is_interruptible


def test_other_threads_are_not_interrupted() -> None:
    """What they do is nothing to a signal, which comes in the main thread."""
    stop = Stop()
    stop.request("interrupt")
    seen: list[bool] = []

    def work() -> None:
        with stop.at_work(), stop.interruptible():
            seen.append(stop.is_interruptible)

    thread = threading.Thread(target=work)
    with stop.at_work():
        thread.start()
        thread.join(30)
    assert seen == [False]
