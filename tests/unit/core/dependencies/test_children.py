"""Child processes that user code forks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.children import ChildrenEnd
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import attempt, attempt_async
from encord_agents.tasks.engine.event_loop import EventLoop

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def fork(end: Callable[[], object] = lambda: sys.exit(3)) -> int | None:
    """Fork; return the child's exit code in the parent, and what `end` returns in the child."""
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # it must not go on with the tests, if it does not end
        end()
        return None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fail(error: BaseException) -> Callable[[], object]:
    def end() -> None:
        raise error

    return end


def say() -> None:
    sys.stdout.write("unflushed")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("end", "code", "out", "words"),
    [
        (say, 0, "unflushed", ""),
        (sys.exit, 0, "", ""),
        (fail(SystemExit(True)), 1, "", ""),
        (fail(SystemExit(256 + 7)), 7, "", ""),
        (fail(SystemExit("no model here")), 1, "", "no model here\n"),
        (fail(SystemExit(UnspeakableError())), 1, "", ""),
        (fail(ValueError("in the child")), 1, "", "ValueError: in the child\n"),
        (fail(KeyboardInterrupt()), 1, "", "KeyboardInterrupt\n"),
        (fail(UnspeakableError()), 1, "", "UnspeakableError: <exception str() failed>\n"),
    ],
)
def test_a_child_ends_as_a_script_does(
    end: Callable[[], object], code: int, out: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its exit code is that of a script, and so are its last words."""
    with ChildrenEnd():
        ended = fork(end)
    assert ended == code
    captured = capfd.readouterr()
    assert captured.out == out
    assert captured.err.endswith(words) if words else not captured.err


def test_the_parent_goes_on() -> None:
    """In the process that entered the block, it changes nothing: neither values nor exceptions."""
    with ChildrenEnd():
        pass
    with pytest.raises(SystemExit), ChildrenEnd():
        sys.exit(3)


def test_a_child_may_have_blocks_of_its_own() -> None:
    """A forked worker also leaves the blocks that it enters itself: only the one that it was forked in ends it."""

    def work() -> None:
        with ChildrenEnd():
            pass
        sys.exit(5)

    with ChildrenEnd():
        assert fork(work) == 5


CODES: list[int | None] = []


def returns() -> None:
    CODES.append(fork())


def sets_up() -> Iterator[int]:
    CODES.append(fork())
    yield 1


def tears_down() -> Iterator[int]:
    yield 1
    CODES.append(fork())


def tears_down_at_last() -> Iterator[int]:
    with contextlib.suppress(LookupError):
        yield 1
    CODES.append(fork(lambda: None))


async def coroutine() -> None:
    await asyncio.sleep(0)
    CODES.append(fork())


async def async_sets_up() -> AsyncIterator[int]:
    CODES.append(fork())
    yield 1


async def async_tears_down() -> AsyncIterator[int]:
    yield 1
    CODES.append(fork())


@pytest.mark.parametrize("scope", ["attempt", "run"])
@pytest.mark.parametrize(
    "function",
    [returns, sets_up, tears_down, tears_down_at_last, coroutine, async_sets_up, async_tears_down, lambda: coroutine()],
)
def test_dependencies(function: Callable[..., Any], scope: Any) -> None:
    """A child that a dependency forks ends with it: it calls no agent and tears nothing else down, in any thread."""
    torn_down = []

    def other() -> Iterator[int]:
        yield 1
        torn_down.append(os.getpid())

    def agent(_: Annotated[Any, Depends(other)], __: Annotated[Any, Depends(function, scope=scope)]) -> None:
        CODES.append(os.getpid())

    CODES.clear()
    expected = {0 if function is tears_down_at_last else 3, os.getpid()}
    assert carried_out(agent) is None
    assert set(CODES) == expected
    assert torn_down == [os.getpid()]


@pytest.mark.parametrize("agent", [returns, coroutine, lambda: coroutine()])
def test_agents(agent: Callable[..., Any]) -> None:
    """A child that an agent forks ends with it."""
    CODES.clear()
    assert carried_out(agent) is None
    assert CODES == [3]


def carried_out(agent: Callable[..., Any]) -> BaseException | None:
    """Make an attempt, in a way that suits the agent; return its exception."""
    plan = build_plan(agent, injectable=(), run_injectable=())

    async def whole() -> BaseException | None:
        run = RunScope()
        ended = await attempt_async(plan, {}, run)
        await run.aclose()
        return ended.exception

    if plan.has_async:
        return asyncio.run(whole())
    loop = EventLoop()
    try:
        run = RunScope(loop=loop)
        ended = attempt(plan, {}, run)
        run.close()
    finally:
        loop.close()
    return ended.exception
