"""The measurements of `benchmarks.scale` as plots, as a section of `docs/performance.md`, and as arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.document import table
from benchmarks.lines import Line, plot
from benchmarks.targets import MEGABYTE

if TYPE_CHECKING:
    from benchmarks.celery_workers import Emptied
    from benchmarks.scale import Point, Scale

DOCS = Path(__file__).parent.parent / "docs"
PERFORMANCE = DOCS / "performance.md"
BEYOND = DOCS / "howto" / "beyond-one-machine.md"
TITLE = "## How cost grows"
NOT_YET = "No figures yet: `make bench-scale` writes them here, on a machine that does nothing else meanwhile.\n"

RATES = (10, 50, 200, 1_000)
"""Requests a second that a platform may allow."""
AGENTS = (0.1, 1.0, 10.0)
"""Seconds that an agent may take."""


def write(scale: Scale, results: Path) -> None:
    """Write plots and pages."""
    for name, drawing in plots(scale):
        (results / f"scale-{name}.svg").write_text(drawing)
    page = PERFORMANCE.read_text()
    PERFORMANCE.write_text(with_section(page, scale))
    BEYOND.write_text(beyond(scale))


def with_section(page: str, scale: Scale | None) -> str:
    """Return the page on performance with the section on scale as it is now."""
    before, _, rest = page.partition(TITLE + "\n")
    _, found, after = rest.partition("\n## ")
    return f"{before.rstrip()}\n\n{TITLE}\n\n{section(scale)}" + (f"\n## {after}" if found else "")


def plots(scale: Scale) -> Iterator[tuple[str, str]]:
    """Names and drawings."""
    if tasks := scale.of("tasks"):
        yield (
            "tasks",
            plot("Cost with the number of tasks, (c)", "tasks", "seconds", [
                Line("seconds", [(p.x, p.seconds) for p in tasks]),
                Line("processor seconds", [(p.x, p.cpu) for p in tasks]),
                Line("in proportion", [(p.x, tasks[0].seconds * p.x / tasks[0].x) for p in tasks], ideal=True),
            ]),
        )  # fmt: skip
    if threads := scale.of("threads"):
        yield "threads", _workers("max_workers, agents that wait 100 ms", _rates(threads), "max_workers")
    for series, name, what in (
        ("waiting processes", "waiting", "Processes of a drain, agents that wait 100 ms"),
        ("computing processes", "computing", "Processes of a drain, agents that compute for 20 ms"),
    ):
        if found := scale.of(series):
            yield name, _workers(what, _rates(found), "processes")
    if rates := [(float(one.workers), one.per_second) for one in _by_workers(scale)]:
        yield "celery", _workers("Celery workers, agents that wait 100 ms", rates, "workers")
    if window := scale.of("window"):
        line = Line("Runner, task_batch_size", _rates(window))
        lines = [line, Line("Celery, batch_size", [(float(one.batch), one.per_second) for one in _by_batch(scale)])]
        yield "batch", plot("Tasks at once", "tasks at once", "tasks / s", [one for one in lines if one.points])


def _rates(points: list[Point]) -> list[tuple[float, float]]:
    return [(float(point.x), point.tasks / point.seconds) for point in points]


def _workers(title: str, rates: list[tuple[float, float]], x_name: str) -> str:
    ideal = [(x, rates[0][1] * x / rates[0][0]) for x, _ in rates]
    lines = [Line("measured", rates), Line("in proportion", ideal, ideal=True)]
    return plot(title, x_name, "tasks / s", lines, logarithmic=rates[-1][0] > 8)


def _by_workers(scale: Scale) -> list[Emptied]:
    return sorted((one for one in scale.celery if one.agent_seconds), key=lambda one: one.workers)


def _by_batch(scale: Scale) -> list[Emptied]:
    return sorted((one for one in scale.celery if not one.agent_seconds), key=lambda one: one.batch)


def section(scale: Scale | None) -> str:
    """The section, without its title."""
    if scale is None:
        return NOT_YET
    machine = scale.machine
    parts = [
        f"Measured by `make bench-scale`, on {machine['on']}, on a machine with {machine['cpus']} processors: "
        "agent (c), 30 ms for each request and 0.5 ms for each thing in it. "
        "[Beyond one machine](howto/beyond-one-machine.md) says what follows for many of them.",
    ]
    names = [name for name, _ in plots(scale)]
    parts += ["\n".join(f"![{name}](../benchmarks/results/scale-{name}.svg)" for name in names)]
    if tasks := scale.of("tasks"):
        header = ("tasks", "seconds", "per task", "CPU per task", "memory, at most", "requests per task")
        parts.append(table(header, [_row(point) for point in tasks]))
    for series, what in (
        ("threads", "`max_workers`, agents that wait 100 ms"),
        ("waiting processes", "processes of a drain, agents that wait 100 ms"),
        ("computing processes", "processes of a drain, agents that compute for 20 ms"),
        ("window", "`task_batch_size`, agents that do nothing"),
    ):
        if found := scale.of(series):
            first = found[0].tasks / found[0].seconds
            compared = [
                (f"{x:,.0f}", f"{rate:.1f}", f"{rate / first:.1f} ×", _each(point))
                for point, (x, rate) in zip(found, _rates(found), strict=True)
            ]
            parts.append(table((what, "tasks a second", "against the first", "requests per task"), compared))
    for found_celery, what in (
        (_by_workers(scale), "Celery workers, agents that wait 100 ms, `batch_size=10`"),
        (_by_batch(scale), "`batch_size` of one Celery worker, agents that do nothing"),
    ):
        if found_celery:
            parts.append(_celery(found_celery, what))
    return "\n\n".join(parts) + "\n"


def _row(point: Point) -> tuple[str, ...]:
    return (
        f"{point.x:,}",
        f"{point.seconds:.1f} s",
        _per(point.seconds, point),
        _per(point.cpu, point),
        f"{point.peak / MEGABYTE:.0f} MB",
        _each(point),
    )


def _per(seconds: float, point: Point) -> str:
    return f"{seconds / point.tasks * 1000:.2f} ms"


def _each(point: Point) -> str:
    return f"{point.requests / point.tasks:.2f}"


def _celery(found: list[Emptied], what: str) -> str:
    first = found[0].per_second
    return table(
        (what, "tasks a second", "against the first", "requests per task", "CPU per task", "Redis commands per task"),
        [
            (
                f"{one.workers if one.agent_seconds else one.batch}",
                f"{one.per_second:.1f}",
                f"{one.per_second / first:.1f} ×",
                f"{one.requests:.2f}",
                f"{one.cpu * 1000:.1f} ms",
                f"{one.broker:.1f}",
            )
            for one in found
        ],
    )


INTRODUCTION = """\
# Beyond one machine

Celery workers on many machines share one queue, one Redis and one platform. How many are worth having, and what limits
them then? This page calculates it; `make bench-scale` measures the inputs and writes the figures into it.
For setting up workers, see [queue_runner.md](../queue_runner.md#on-celery).

## What a message costs

A message is a batch of `b` tasks. Its worker makes `k` requests to the platform, whatever `b` is: tasks, label rows,
labels, save, priorities, move (fewer if no labels are needed, and one more for each file). These requests come one
after the other, and the agents run in between, one after the other:

    T = t0 + b · a        seconds of one worker, for one message; `a` are an agent's seconds, `t0` is all the rest

"""

WORKERS = """\
## How many workers a platform can take

If the platform allows `N` requests per second, it serves `N / k` messages per second, and so

    tasks per second, at most  =  N · b / k
    workers needed for that    =  N · T / k        one more only makes all of them wait

Further requests are answered with a 429, which is waited out: no task fails, but nothing is gained. Quick agents reach
the limit with a few workers. Then only a larger `b` helps, since `k` does not grow with it. If agents are slow, small
batches spread better, and the platform is not the limit.

"""

LIMITS = """\
## Further limits

In the order in which they are reached:

1. **Requests per second.** See above; `batch_size` may be up to 100.
2. **The process that fills the queue.** It reads a stage's pages one after the other, a hundred tasks each: with 30 ms
   per request and 0.5 ms per task, 1,250 tasks per second at best. A hundred workers wait for it only if their agents
   take less than 80 ms. A second project has a poll of its own.
3. **The machine.** Labels cost processor time in each worker, to serialise, parse and check. Agents come on top.
4. **Redis.** Each task is marked when it is sent, and held by a worker while it is worked on, so that no two workers
   have it; its label row too. These are small commands on single keys; a Redis handles some ten thousand per second.
5. **The platform's own speed.** If its answers become slower with load, `t0` grows, and `T` with it. More workers then
   contribute less than their share; the plot of Celery workers in [performance.md](../performance.md#how-cost-grows)
   shows where.

Memory is not a limit: a Celery worker holds one batch at a time, with its loaded data, and one of `drain` at most four.
"""


def beyond(scale: Scale | None) -> str:
    """The page on many machines."""
    batches = {one.batch: one for one in _by_batch(scale)} if scale is not None else {}
    workers = _by_workers(scale) if scale is not None else []
    parts = [INTRODUCTION]
    parts.append(_messages(batches) if batches else NOT_YET)
    parts.append("\n" + WORKERS)
    parts.append("\n\n".join(_saturated(one) for one in batches.values() if one.batch in (10, 100)) or NOT_YET)
    if len(workers) > 1:
        parts.append(_check(workers))
    parts.append("\n" + LIMITS)
    if batches and scale is not None:
        parts.append("\n" + _limits(batches, scale))
    return "".join(parts)


def _message(one: Emptied) -> tuple[float, float]:
    """Requests of a message, and its seconds outside of agents."""
    seconds = one.batch / one.per_second if one.per_second else 0.0
    return one.requests * one.batch, seconds - one.batch * one.agent_seconds


def _messages(batches: dict[int, Emptied]) -> str:
    rows = []
    for batch, one in batches.items():
        requests, rest = _message(one)
        each = f"{rest / batch * 1000:.0f} ms"
        rows.append((f"{batch}", f"{requests:.1f}", f"{one.requests:.2f}", f"{rest:.2f} s", each))
    latency = next(iter(batches.values())).latency * 1000
    return (
        f"Measured with agent (c), which asks for labels and sets a priority, where a request takes {latency:.0f} ms.\n"
        "Reading the stage is in it: one request per 100 tasks.\n\n"
        + table(("`b`", "`k`, requests per message", "per task", "`t0`", "`t0` per task"), rows)
        + "\n"
    )


def _saturated(one: Emptied) -> str:
    requests, rest = _message(one)
    rows = [
        (
            f"{rate:,}",
            f"{rate * one.batch / requests:,.0f}",
            *(f"{math.ceil(rate * (rest + one.batch * agent) / requests):,}" for agent in AGENTS),
        )
        for rate in RATES
    ]
    header = ("`N`, requests a second", "tasks a second", *(f"workers, agents of {agent:g} s" for agent in AGENTS))
    return f"With `batch_size={one.batch}`:\n\n" + table(header, rows) + "\n"


def _check(workers: list[Emptied]) -> str:
    first, last = workers[0], workers[-1]
    times = last.workers / first.workers
    return (
        f"\nThe arithmetic, against a measurement: {last.workers} workers should do {times:g} times what "
        f"{first.workers} does,\n{first.per_second * times:.1f} tasks a second, and did {last.per_second:.1f}.\n"
    )


def _limits(batches: dict[int, Emptied], scale: Scale) -> str:
    one = batches[max(batches)]
    cpus = int(scale.machine["cpus"])
    sent = max(one.sent for one in batches.values())
    return (
        f"Measured, with `batch_size={one.batch}`: a task costs {one.cpu * 1000:.1f} ms of a processor in its worker,\n"
        f"so {cpus} processors do {cpus / one.cpu:,.0f} tasks a second and no more, agents aside. It costs\n"
        f"{one.broker:.0f} commands of Redis. The queue was filled with {sent:,.0f} tasks a second.\n"
    )
