"""Exceptions that end the program, told from those that are failures."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from tests.interrupts import exiting_on_sigterm

from encord_agents.core.interrupts import Interrupt, interrupt_in


class TimeIsUp(Exception):  # noqa: N818 - as engines name theirs
    """A time limit's exception."""


def raise_time_is_up(*_: object) -> NoReturn:
    raise TimeIsUp


@pytest.fixture
def handlers() -> Iterator[None]:
    """A handler of SIGTERM that exits, and one of SIGUSR1 that limits the time."""
    before = signal.signal(signal.SIGUSR1, raise_time_is_up)
    with exiting_on_sigterm():
        yield
    signal.signal(signal.SIGUSR1, before)


def raised(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def exit_after_a_signal() -> None:
    try:
        signal.raise_signal(signal.SIGUSR1)
    except TimeIsUp:
        sys.exit(3)


@pytest.mark.usefixtures("handlers")
def test_what_a_signal_handler_raises() -> None:
    """It interrupts the program, by itself or in a group, unless it is an `Exception`: that is a time limit's."""
    error = raised(lambda: signal.raise_signal(signal.SIGTERM))
    assert type(error) is SystemExit
    assert interrupt_in(error) is error
    assert interrupt_in(BaseExceptionGroup("two", [ValueError(), error])) is error
    assert interrupt_in(raised(lambda: signal.raise_signal(signal.SIGUSR1))) is None


@pytest.mark.usefixtures("handlers")
def test_what_code_raises_itself() -> None:
    """A `KeyboardInterrupt` and the engine's own interrupt the program, whoever raises them; `sys.exit()` does not, nor
    does it after a signal that was dealt with."""
    for error in (KeyboardInterrupt(), Interrupt()):
        assert interrupt_in(error) is error
        assert interrupt_in(BaseExceptionGroup("two", [ValueError(), error])) is error
    assert interrupt_in(raised(sys.exit)) is None
    assert interrupt_in(raised(exit_after_a_signal)) is None
    assert interrupt_in(ValueError()) is None
    assert interrupt_in(None) is None
