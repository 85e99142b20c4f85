"""The measurements, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.measure import Case, Measurement, Side, typical
from benchmarks.platform_process import PlatformProcess

LETTERS = {"a": "task_only", "b": "save_in_agent", "c": "struct", "d": "first_frame"}
WORDS = {
    "a": "task only",
    "b": "label row, one box, `label_row.save()` in the agent",
    "c": "struct with label row (one box) and priority",
    "d": "first frame of the asset",
    "p": "`label_row.set_priority()` in the agent",
}
ENOUGH = 90.0
"""Seconds after which a pair is not repeated: what takes so long waits for thousands of answers, and varies little."""


@dataclass(frozen=True)
class Scenario:
    """A case under a name.

    Attributes:
        both: Whether both libraries can run it.
        against: Another case, measured in turn with it: both by this library.
        ours_only: Further arguments for the runner's call, which the peer does not have.
        alone: Whether that case only says how long the agents themselves take, with nothing beside them.
    """

    key: str
    title: str
    case: Case
    both: bool = True
    against: Case | None = None
    alone: bool = False
    ours_only: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A scenario's numbers; no `peer` where only this library can run it, no `other` where it is against no case."""

    scenario: Scenario
    ours: Measurement
    peer: Measurement | None
    repeats: int
    other: Measurement | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.peer is None else self.peer.seconds / self.ours.seconds

    @property
    def agents_alone(self) -> float | None:
        """Seconds that the agents of all tasks take, where that was measured: when no thread is beside them."""
        if self.other is None or self.scenario.against is None or not self.scenario.alone:
            return None
        return self.other.in_agents / self.scenario.against.tasks * self.scenario.case.tasks


@dataclass(frozen=True)
class Results:
    """Everything that was measured. `startup` is seconds by (command, side)."""

    tasks: int
    rows: Mapping[str, Row]
    startup: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def get(self, key: str) -> Row | None:
        return self.rows.get(key)


def speed(tasks: int) -> Iterator[Scenario]:
    """30 ms for each request and 0.5 ms for each item in it."""
    for milliseconds in (0, 5):
        for letter, agent in LETTERS.items():
            case = Case(agent, tasks, milliseconds / 1000)
            title = f"({letter}) {WORDS[letter]}; {milliseconds} ms"
            if milliseconds and letter != "b":  # its agents wait for requests of their own
                few = replace(case, tasks=tasks // 5, latency=0.0, latency_per_item=0.0, options={"task_batch_size": 1})
                yield Scenario(f"{letter}{milliseconds}", title, case, against=few, alone=True)
            else:
                yield Scenario(f"{letter}{milliseconds}", title, case)
        case = Case("save_in_agent", tasks, milliseconds / 1000, options={"max_workers": 8})
        yield Scenario(f"w{milliseconds}", f"(b) with `max_workers=8`; {milliseconds} ms", case, both=False)
    case = Case("awaiting", tasks, 0.2, options={"max_workers": 16})
    yield Scenario("async", "(c) as `async def` with `max_workers=16`; 200 ms", case, both=False)


ROUND_TRIP = 0.06
SLOW_FOR_THE_PEER = {"b": 60, "d": 200}
"""Tasks, at most, of what takes the peer a request or more for each."""
BUNDLED = {"b": "save_in_agent", "p": "prioritise"}


def network(tasks: int) -> Iterator[Scenario]:
    """A platform that is 60 ms away, behind TLS, and takes 30 ms for each request as before."""
    for letter, agent in LETTERS.items():
        number = min(tasks, SLOW_FOR_THE_PEER.get(letter, tasks))
        case = Case(agent, number, round_trip=ROUND_TRIP)
        yield Scenario(f"{letter}net", f"({letter}) {WORDS[letter]}; {number:,} tasks", case)
    for letter, agent in BUNDLED.items():
        number = min(tasks, 300)
        case = Case(agent, number, round_trip=ROUND_TRIP)
        title = f"({letter}) {WORDS[letter]}; ours with `bundle_saves`; {number:,} tasks"
        yield Scenario(f"{letter}bundled", title, case, ours_only={"bundle_saves": True})


def processor(tasks: int) -> Iterator[Scenario]:
    """No latency: only processor time counts."""
    for letter, agent in LETTERS.items():
        case = Case(agent, tasks, latency=0.0, latency_per_item=0.0)
        yield Scenario(f"{letter}zero", f"({letter}) {WORDS[letter]}", case)


def memory(*, full: bool) -> Iterator[Scenario]:
    """More and more tasks that wait behind a first one, whose agent is busy until all of them have been read."""
    for tasks in (1_000, 10_000, 100_000) if full else (1_000, 10_000):
        case = Case("held_up", tasks, agent_seconds=tasks * 0.0005, latency=0.0, latency_per_item=0.0)
        yield Scenario(f"m{tasks}", f"{tasks:,} waiting tasks", case)


def processes(tasks: int) -> Iterator[Scenario]:
    """Agents that compute: over two processes, against one. Starting the processes counts."""
    for key, latency, where in (("drain", 0.03, "30 ms for each request"), ("drainzero", 0.0, "no latency")):
        one = Case("computing", tasks, 0.02, latency=latency, latency_per_item=latency / 60)
        two = replace(one, agent="drained", options={"workers": 2})
        title = f"20 ms of Python; `drain(workers=2)` against `Runner`; {where}"
        yield Scenario(key, title, two, both=False, against=one)


def measure(scenario: Scenario, ours: Side, peer: Side, repeat: int) -> Row:
    """In turn: ours, peer or the other case, ours again ... The medians."""
    started = time.monotonic()
    mine: list[Measurement] = []
    theirs: list[Measurement] = []
    others: list[Measurement] = []
    while len(mine) < repeat and (not mine or time.monotonic() - started < ENOUGH):
        options = {**scenario.case.options, **scenario.ours_only}
        mine.append(ours.measure(replace(scenario.case, options=options)))
        if scenario.both:
            theirs.append(peer.measure(scenario.case))
        if scenario.against is not None:
            others.append(ours.measure(scenario.against))
    row = Row(scenario, typical(mine), typical(theirs) if theirs else None, len(mine))
    return replace(row, other=typical(others)) if others else row


def startup(sides: Sequence[Side], script: str, repeat: int) -> dict[tuple[str, str], float]:
    """Seconds that processes take which only start: in turn, and the least of some, since disturbances only add."""
    commands = {
        "import encord": ["-c", "import encord"],
        "import encord_agents.tasks": ["-c", "import encord, encord_agents.tasks"],
        "script --help": [script, "--help"],
    }
    least: dict[tuple[str, str], float] = {}
    with PlatformProcess(1) as platform:
        environment = {**platform.environment}
        for turn in range(repeat + 1):
            for side in sides:
                for command, arguments in commands.items():
                    taken = side.time(arguments, environment)
                    if turn:  # the first time, bytecode is compiled and files come from the disk
                        least[command, side.name] = min(taken, least.get((command, side.name), taken))
    return least
