"""Arbitrary graphs of dependencies, failing anywhere: an attempt is whole."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.scope import BadTeardown, RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async

Event = tuple[Literal["up", "down", "agent"], int]


class PlannedError(Exception): ...


@dataclass(frozen=True)
class Node:
    needs: frozenset[int]
    generator: bool
    is_async: bool
    scope: Literal["attempt", "run"]
    fails: Literal["no", "up", "down"]


@dataclass(frozen=True)
class Graph:
    nodes: list[Node]
    wanted: list[int]
    agent_fails: bool


@st.composite
def graphs(draw: st.DrawFn, *, may_be_async: bool) -> Graph:
    nodes: list[Node] = []
    for i in range(draw(st.integers(1, 8))):
        scope = draw(st.sampled_from(["attempt", "attempt", "run"]))
        allowed = [j for j in range(i) if scope == "attempt" or nodes[j].scope == "run"]
        needs = draw(st.frozensets(st.sampled_from(allowed))) if allowed else frozenset()
        generator = draw(st.booleans())
        fails = draw(st.sampled_from(["no"] * 8 + ["up", "down"]))
        nodes.append(Node(needs, generator, may_be_async and draw(st.booleans()), scope, fails))
    wanted = draw(st.lists(st.integers(0, len(nodes) - 1), unique=True))
    return Graph(nodes, wanted, draw(st.booleans()) and draw(st.booleans()))


def with_needs(function: Callable[..., Any], parameters: list[tuple[str, Any]]) -> Callable[..., Any]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    marked = [inspect.Parameter(name, keyword, default=mark) for name, mark in parameters]
    function.__signature__ = inspect.Signature(marked)  # type: ignore[attr-defined]
    return function


def build(graph: Graph, log: list[Event]) -> tuple[list[Callable[..., Any]], Callable[..., str]]:
    """One function per node, that records what happens to it, and the agent."""
    functions: list[Callable[..., Any]] = []

    def up(i: int, given_: dict[str, int]) -> int:
        assert given_ == {f"n{j}": j for j in graph.nodes[i].needs}
        if graph.nodes[i].fails == "up":
            raise PlannedError(i)
        log.append(("up", i))
        return i

    def down(i: int) -> None:
        log.append(("down", i))
        if graph.nodes[i].fails == "down":
            raise PlannedError(i)

    def make(i: int, node: Node) -> Callable[..., Any]:
        def value(**given_: int) -> int:
            return up(i, given_)

        async def value_async(**given_: int) -> int:
            await asyncio.sleep(0)
            return up(i, given_)

        def generator(**given_: int) -> Iterator[int]:
            made = up(i, given_)
            try:
                yield made
            finally:
                down(i)

        async def generator_async(**given_: int) -> AsyncIterator[int]:
            made = up(i, given_)
            try:
                yield made
            finally:
                await asyncio.sleep(0)
                down(i)

        if node.is_async:
            return generator_async if node.generator else value_async
        return generator if node.generator else value

    def mark(j: int) -> tuple[str, Any]:
        return f"n{j}", Depends(functions[j], scope=graph.nodes[j].scope)

    for i, node in enumerate(graph.nodes):
        functions.append(with_needs(make(i, node), [mark(j) for j in node.needs]))

    def agent(**given_: int) -> str:
        log.append(("agent", 0))
        if graph.agent_fails:
            raise PlannedError("agent")
        return "done"

    return functions, with_needs(agent, [mark(j) for j in graph.wanted])


def reachable(graph: Graph) -> set[int]:
    found: set[int] = set()
    waiting = list(graph.wanted)
    while waiting:
        i = waiting.pop()
        if i not in found:
            found.add(i)
            waiting += graph.nodes[i].needs
    return found


def check(
    graph: Graph, events: list[Event], ended: Attempt, functions: list[Callable[..., Any]], made: set[int]
) -> None:
    """The events of one attempt, in which ``made`` are the run-scoped nodes that were there before."""
    nodes = graph.nodes
    ups = [i for what, i in events if what == "up"]
    downs = [i for what, i in events if what == "down"]
    needed = reachable(graph)
    assert len(ups) == len(set(ups)), "each is set up once"
    assert not made & set(ups), "what lives as long as the run is not made again"
    assert set(ups) <= needed
    present = set(made)
    for i in ups:
        assert nodes[i].needs <= present, "after what it needs"
        present.add(i)
    own = [i for i in ups if nodes[i].generator and nodes[i].scope == "attempt"]
    assert downs == own[::-1], "torn down in the exact reverse, and only what was set up"
    failing = {i for i in needed if nodes[i].fails == "up"}
    called = ("agent", 0) in events
    assert called == (not failing)
    if failing:
        assert ended.phase == "inject"
        assert ended.faulty_dependency in [functions[i] for i in failing]
        assert ended.run_scoped == (nodes[functions.index(ended.faulty_dependency)].scope == "run")
    elif graph.agent_fails:
        assert (ended.phase, str(ended.exception)) == ("agent", "agent")
    elif bad := [i for i in downs if nodes[i].fails == "down"]:
        assert (ended.phase, ended.faulty_dependency) == ("teardown", functions[bad[0]])
    else:
        assert ended == Attempt("done")
    if called:
        at = events.index(("agent", 0))
        assert {what for what, _ in events[:at]} <= {"up"}
        assert {what for what, _ in events[at + 1 :]} <= {"down"}


def check_closing(graph: Graph, events: list[Event], made: list[int], raised: list[BadTeardown]) -> None:
    expected = [i for i in reversed(made) if graph.nodes[i].generator]
    assert events == [("down", i) for i in expected]
    assert [str(bad.exception) for bad in raised] == [str(i) for i in expected if graph.nodes[i].fails == "down"]


@given(graphs(may_be_async=False))
@settings(deadline=None)
def test_attempts_are_whole(graph: Graph) -> None:
    """Order, sharing, phases, teardown in reverse even when teardowns raise; and the second attempt is as fresh."""
    log: list[Event] = []
    functions, agent = build(graph, log)
    plan = build_plan(agent, injectable=())
    run = RunScope()
    made: list[int] = []
    for _ in range(2):
        log.clear()
        ended = attempt(plan, {}, run)
        check(graph, log, ended, functions, set(made))
        made += [i for what, i in log if what == "up" and graph.nodes[i].scope == "run"]
    log.clear()
    raised = run.close()
    check_closing(graph, log, made, raised)


@given(graphs(may_be_async=True))
@settings(deadline=None, max_examples=examples(60))
def test_async_attempts_are_whole(graph: Graph) -> None:
    """The same holds on an event loop, whatever is awaited and whatever lives on the worker thread."""
    log: list[Event] = []
    functions, agent = build(graph, log)
    plan = build_plan(agent, injectable=())

    async def main() -> None:
        run = RunScope()
        made: list[int] = []
        for _ in range(2):
            log.clear()
            ended = await attempt_async(plan, {}, run)
            check(graph, log, ended, functions, set(made))
            made.extend(i for what, i in log if what == "up" and graph.nodes[i].scope == "run")
        log.clear()
        raised = await run.aclose()
        check_closing(graph, log, made, raised)

    asyncio.run(main())
