"""A call in a thread of its own: it is waited for as often as needed, or is not made at all."""

from __future__ import annotations

import contextvars
import threading
from typing import NoReturn

from tests.waiting import until

from encord_agents.tasks.runner.apart import Apart


def test_a_call() -> None:
    """It is made once, in another thread, with the caller's context variables."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller")
    seen: list[tuple[str, bool]] = []
    apart = Apart(lambda: seen.append((variable.get(), threading.current_thread() is threading.main_thread())))
    assert not apart.ended
    apart.start()
    assert until(apart.wait)
    assert seen == [("caller", False)]
    assert apart.error is None


def test_a_call_that_raises() -> None:
    """Whatever it is, the caller has it."""

    def leave() -> NoReturn:
        raise SystemExit(3)

    apart = Apart(leave)
    apart.start()
    assert until(apart.wait)
    assert isinstance(apart.error, SystemExit)


def test_called_off_before_it_began() -> None:
    """It is over, and a thread that starts late does not make it."""
    seen: list[int] = []
    apart = Apart(lambda: seen.append(1))
    apart.call_off()
    assert apart.wait()
    apart.start()
    assert until(lambda: len(apart._claims) == 2)
    assert seen == []


def test_called_off_after_it_began() -> None:
    """It goes on to its end, which is waited for."""
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    apart = Apart(work)
    apart.start()
    begun.wait()
    apart.call_off()
    assert not apart.wait()
    go_on.set()
    assert until(apart.wait)
