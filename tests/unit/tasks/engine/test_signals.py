"""Signals become stops, in the process that installed the handlers and in no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine import signals
from encord_agents.tasks.engine.signals import hold_off_signals, stop_on_signals
from encord_agents.tasks.engine.stop import Stop

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, object]]:
    """Those of this process, which are there again afterwards."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    replaced = list(signals._replaced)
    yield dict(before)
    signals._replaced[:] = replaced
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes that this process would have been left with."""
    codes: list[int] = []
    monkeypatch.setattr(signals, "leave_at_once", codes.append)
    return codes


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [(signal.SIGTERM, "terminate", 143), (signal.SIGHUP, "hangup", 129), (signal.SIGINT, "interrupt", 130)],
)
def test_each_signal(number: signal.Signals, reason: str, code: int, left: list[int]) -> None:
    """It is noted while the engine is at work. The second leaves at once, with its own code."""
    with stop_on_signals() as stop:
        assert (stop.requested, stop.exit_code) == (False, None)
        with stop.at_work():
            signal.raise_signal(number)
        assert (stop.requested, stop.reason, stop.exit_code, left) == (True, reason, code, [])
        signal.raise_signal(signal.SIGTERM)
        assert left == [143]


def test_a_ctrl_c_in_the_users_code() -> None:
    """There it is a KeyboardInterrupt, in a run and outside of one, as a user would expect."""
    with stop_on_signals() as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert stop.reason == "interrupt"
    with stop_on_signals() as stop:
        run = Stop(stop)
        with run.at_work(), pytest.raises(KeyboardInterrupt), run.interruptible():
            signal.raise_signal(signal.SIGINT)
    assert run.reason == "interrupt"


def test_handlers_are_put_back(handlers: dict[int, object]) -> None:
    """Also by an exception; and one block may be in another."""
    with stop_on_signals() as outer:
        outside = signal.getsignal(signal.SIGTERM)
        with stop_on_signals() as inner, inner.at_work():
            signal.raise_signal(signal.SIGTERM)
        assert (inner.requested, outer.requested) == (True, False)
        assert signal.getsignal(signal.SIGTERM) is outside
    with pytest.raises(ZeroDivisionError), stop_on_signals():
        _ = 1 / 0
    assert {number: signal.getsignal(number) for number in NUMBERS} == handlers
    assert signals._replaced == []


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_is_ignored(number: int) -> None:
    """As under nohup, or in the background of a shell script: the run goes on."""
    signal.signal(number, signal.SIG_IGN)
    with stop_on_signals() as stop:
        signal.raise_signal(number)
        assert not stop.requested
    hold_off_signals()
    assert signal.getsignal(number) == signal.SIG_IGN


def test_in_another_thread() -> None:
    """Python allows no handlers there; the error says what to do."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with stop_on_signals():
                pytest.fail("unreachable")
        except PrintableError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert "main thread" in str(raised[0])
    assert "runner(stop=stop)" in str(raised[0])


def told_by_child(tell: Callable[[], str]) -> str:
    """What a forked child says of itself."""
    ours, its = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: its.send(tell()))
    child.start()
    its.close()
    try:
        return str(ours.recv())
    finally:
        child.join()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded: nothing here holds locks
@pytest.mark.parametrize("kind", ["stopping", "nested", "holding off"])
def test_forked_children_have_the_handlers_of_before(kind: str, handlers: dict[int, object]) -> None:
    """Whoever forks a child may end it as any other: by SIGTERM, and wait for that."""

    def tell() -> str:
        return str([signal.getsignal(number) == handlers[number] for number in NUMBERS])

    def ended_by_sigterm() -> int | None:
        ours, its = FORK.Pipe(duplex=False)
        child = FORK.Process(target=lambda: (its.send(1), threading.Event().wait()))
        child.start()
        ours.recv()
        child.terminate()
        child.join()
        return child.exitcode

    if kind == "holding off":
        hold_off_signals()
        assert (told_by_child(tell), ended_by_sigterm()) == ("[True, True, True]", -signal.SIGTERM)
    elif kind == "stopping":
        with stop_on_signals() as stop:
            assert (told_by_child(tell), ended_by_sigterm()) == ("[True, True, True]", -signal.SIGTERM)
            assert not stop.requested
    else:
        with stop_on_signals(), stop_on_signals():
            assert (told_by_child(tell), ended_by_sigterm()) == ("[True, True, True]", -signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_that_leaves_the_block(handlers: dict[int, object]) -> None:
    """It may; it is as its parent would be."""
    pid = -1
    code = 1
    try:
        with stop_on_signals():
            pid = os.fork()
        code = int({number: signal.getsignal(number) for number in NUMBERS} != handlers)
    finally:
        if pid == 0:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


SHOWS_HANDLERS = """
import signal
print([signal.getsignal(n) is signal.default_int_handler or signal.getsignal(n) == signal.SIG_DFL for n in (1, 2, 15)])
"""


def test_programs_inherit_nothing() -> None:
    """A program that an agent starts in a worker hears Ctrl-C, SIGTERM and SIGHUP as any other."""
    hold_off_signals()
    for number in NUMBERS:
        signal.raise_signal(number)
    shown = subprocess.run([sys.executable, "-c", SHOWS_HANDLERS], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[True, True, True]"
