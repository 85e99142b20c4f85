"""The results as Markdown: one page for the terminal and for `docs/performance.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from benchmarks.measure import PEER, Measurement
from benchmarks.scenarios import Results, Row
from benchmarks.targets import MEGABYTE, targets

INTRODUCTION = """\
# Performance

This library and `{peer}`, measured side by side by `make bench`, which wrote this page. Both run the same agents file
(`benchmarks/agents.py`), in turn, each time in a fresh process against a fresh local platform in a process of its own,
with the default batch size. {tasks:,} tasks, each a small picture; medians of {repeats}. Only the ratios mean something
on another machine: this one had {cpus} processors and Python {python}; `encord` {encord}.

![Seconds, this library and the peer](../benchmarks/results/performance.svg)
"""

ASKED_AGAIN = """\
With 100,000 tasks, most are loaded more than 20 s after they were listed. This library then asks the platform whether
they are still in the stage, one request for each chunk; the peer does not, and runs its agent for tasks that have
left."""

HOW = """\
## How to measure

- `make bench` measures everything but the largest run and rewrites this page; the peer is installed into `.venv-peer`.
- `make bench ARGS=--full` also measures 100,000 waiting tasks; `ARGS=--quick` takes a minute or two and writes nothing;
  `ARGS="--repeat 5"` repeats more; `ARGS="--only c0 --only d0"` measures a few, by the key in the tables, or a group:
  speed, network, processor, memory, processes.
- `--only network` measures over a network: a proxy in a process of its own holds everything back for half of 60 ms in
  each direction, and a new connection for 60 ms more; behind it are TLS and the platform, and connections are counted.
  The client trusts `requests`' usual authorities and one more, so that it has as much to read as it would elsewhere.
- A pair of runs that took over 90 seconds is not repeated: it waits for thousands of answers and varies little.
- `make soak` is a long run by hand: a minute's outage in the middle of a run, 100,000 tasks, hundreds of passes. It
  reports threads, open files and memory before and after each.

Where this library gains: labels, files and results are loaded ahead and written behind while the agent runs, many tasks
to a request, and requests beside each other. Where it cannot: an agent that saves by its own hand waits for its own
request (b), unless several run at once (`max_workers`). Agents that compute want processes: `QueueRunner.drain`.

## Where the time goes in (c)

Looked into with 1,000 tasks, on a machine where (c) took 1.4 s:

- Pages of tasks can only be read one after the other. Ten of them, 80 ms each, are 0.8 s; the project and its ontology
  come before, 0.06 s; and the last tasks go through four more requests (list, initialise, save, move) of 50 ms or so.
  So 1.05 s is the least that any client needs, whatever it does at the same time.
- The window holds tasks back: with `task_batch_size=1000` it is 1.25 s.
- 0.4 s are processor time of this client, under one interpreter lock, most of it while others wait for answers. A
  quarter of what it was has gone since labels are sent without the SDK's deep copies of them (`core/sdk/bundle.py`).
- Tried and left: giving slots back before the move (8 % faster, but then more than a window's tasks are loaded and
  not yet moved), fewer or more loaders (no difference), labels of more rows at once (none).

## Where the time goes over a network

With 60 ms there and back and 30 ms for a request, by arithmetic and by looking at every request of a run:

- A new connection costs two round trips before its first request: TCP and TLS. The peer pays them for each request,
  this library for each connection: 8 of them in (c), and 16 more for files in (d).
- Reading the file of trusted certificates takes 20 ms of a processor under the interpreter's lock, for every connection
  that is opened as `requests` opens them. It is read once; with 16 connections at the same time that was the most of
  their second.
- (c): project and ontology are asked for one after the other (0.3 s with the first connection), then ten pages (0.14 s
  each), then the last tasks go through list, initialise, save and move (0.5 s). The stage is asked once more at the
  end, since tasks moved while it was read (0.1 s). So 2.3 s are the least with the SDK's pages. The rest is the window:
  300 tasks at a time go through these four requests, in 0.5 s; `task_batch_size=1000` does without.
- (b) is a request for each task, with or without connections that stay open: `bundle_saves` is what helps.

## Where the time goes in (b) without latency

Nine tenths of the caller's thread are the agent's own `label_row.save()`, a request for each task, and a third of that
is waiting for the platform's answer. Both libraries pay this. This library spares the connection, and the SDK's deep
copy of the labels: a tenth of the processor time. It pays 0.15 ms a task for handing tasks from thread to thread,
where the peer has one thread.

## Where the time goes in (d) without latency

- More than half of the processor time is spent in the threads that download: `requests` and `urllib3` take 0.4 ms for a
  file over a connection that stays open, on the fastest of these machines; `http.client` alone would take 0.1 ms. They
  stay, since an organisation's hooks, proxies and certificates for `requests` then work for files too.
- At each call of the system, another thread may take the interpreter, and the two then change places 60 times for each
  file. So a small file is written by one call and read by one, without a buffer or a seek: 15 calls for each file,
  where it was 28.
- Tried and left: fewer downloads at once (2 to 4 in place of 16: 5 to 10 % slower).

## Where the time goes in a drain

1,000 tasks of 20 ms are 10 s for each of two processes. The first task starts after a second: 0.2 s until the stage is
read, 0.6 s in which workers import the SDK and the agents, 0.2 s to connect and to load. From there on workers wait for
nothing: less than 2 % of their time is not spent in agents. Agents take 3 to 6 % longer there than alone, because the
requests' processor time, and on two processors the platform's, comes off theirs.
"""


def page(results: Results) -> str:
    """The whole document."""
    parts = [
        INTRODUCTION.format(
            peer=PEER,
            tasks=results.tasks,
            repeats=max((row.repeats for row in results.rows.values()), default=0),
            cpus=os.cpu_count(),
            python=platform.python_version(),
            encord=version("encord"),
        ),
        tables(results),
        HOW,
    ]
    return "\n".join(parts)


def tables(results: Results) -> str:
    """Targets, then every number."""
    parts = []
    if found := list(targets(results)):
        rows = [(t.what, t.bound, t.measured, "yes" if t.met else "**no**") for t in found]
        parts += ["## Targets", table(("what", "target", "measured", "met"), rows)]
    over_processes = [row for row in results.rows.values() if row.other and not row.scenario.alone]
    rest = {key: row for key, row in results.rows.items() if row not in over_processes}
    if found_rows := [row for row in rest.values() if row.scenario.case.round_trip]:
        parts += ["## Over a network: 60 ms there and back, TLS, 30 ms for each request", _network(found_rows)]
    near = [row for row in rest.values() if not row.scenario.case.round_trip]
    if found_rows := [row for row in near if row.scenario.case.latency]:
        parts += ["## 30 ms for each request, 0.5 ms for each thing in it", _speed(found_rows)]
    if found_rows := [row for key, row in rest.items() if key.endswith("zero")]:
        parts += ["## No latency: processor time", _processor(found_rows)]
    if found_rows := [row for key, row in rest.items() if key.startswith("m")]:
        parts += ["## Memory, at most", _memory(found_rows), ASKED_AGAIN]
    if over_processes:
        parts += ["## Agents that compute", _processes(over_processes)]
    if results.startup:
        parts += ["## Starting", _startup(results)]
    return "\n\n".join(parts) + "\n"


def _speed(rows: Iterable[Row]) -> str:
    """Seconds around the runner's call and, in brackets, of the whole process."""
    header = ("", "key", "ours", "peer", "ratio", "our CPU", "peer's CPU", "our requests", "peer's requests")
    return (
        table(
            header,
            [
                (
                    row.scenario.title,
                    row.scenario.key,
                    f"{row.ours.seconds:.2f} s ({row.ours.process_seconds:.1f})",
                    f"{row.peer.seconds:.2f} s ({row.peer.process_seconds:.1f})" if row.peer else "–",
                    f"{row.ratio:.2f} ×" if row.ratio else "–",
                    f"{row.ours.cpu:.2f} s",
                    f"{row.peer.cpu:.2f} s" if row.peer else "–",
                    f"{sum(row.ours.requests.values()):,}",
                    f"{sum(row.peer.requests.values()):,}" if row.peer else "–",
                )
                for row in rows
            ],
        )
        + "\n\nSeconds of the runner's call; of the whole process in brackets. Requests include files."
    )


def _network(rows: Iterable[Row]) -> str:
    header = (
        "",
        "key",
        "ours",
        "peer",
        "ratio",
        "our connections",
        "peer's",
        "our requests",
        "peer's",
        "our CPU",
        "peer's",
    )
    return table(
        header,
        [
            (
                row.scenario.title,
                row.scenario.key,
                f"{row.ours.seconds:.2f} s",
                f"{row.peer.seconds:.2f} s",
                f"{row.ratio:.2f} ×",
                _connections(row.ours),
                _connections(row.peer),
                f"{sum(row.ours.requests.values()):,}",
                f"{sum(row.peer.requests.values()):,}",
                f"{row.ours.cpu:.2f} s",
                f"{row.peer.cpu:.2f} s",
            )
            for row in rows
            if row.peer
        ],
    )


def _connections(measured: Measurement) -> str:
    files = f" + {measured.file_connections:,} for files" if measured.file_connections else ""
    return f"{measured.connections:,}{files}"


def _processor(rows: Iterable[Row]) -> str:
    def per_task(seconds: float, row: Row) -> str:
        return f"{seconds / row.scenario.case.tasks * 1000:.2f} ms"

    return table(
        ("", "key", "ours", "peer", "ratio", "our CPU per task", "peer's CPU per task"),
        [
            (
                row.scenario.title,
                row.scenario.key,
                f"{row.ours.seconds:.2f} s",
                f"{row.peer.seconds:.2f} s",
                f"{row.ratio:.2f} ×",
                per_task(row.ours.cpu, row),
                per_task(row.peer.cpu, row),
            )
            for row in rows
            if row.peer and row.ratio
        ],
    )


def _memory(rows: Iterable[Row]) -> str:
    return table(
        ("all behind the first task, which is slow", "key", "ours", "peer", "our seconds", "peer's seconds"),
        [
            (
                row.scenario.title,
                row.scenario.key,
                f"{row.ours.peak / MEGABYTE:.0f} MB",
                f"{row.peer.peak / MEGABYTE:.0f} MB" if row.peer else "–",
                f"{row.ours.seconds:.2f} s",
                f"{row.peer.seconds:.2f} s" if row.peer else "–",
            )
            for row in rows
        ],
    )


def _processes(rows: Iterable[Row]) -> str:
    return table(
        ("", "key", "over processes", "in one", "ratio", "CPU over processes", "CPU in one"),
        [
            (
                row.scenario.title,
                row.scenario.key,
                f"{row.ours.seconds:.2f} s",
                f"{row.other.seconds:.2f} s",
                f"{row.other.seconds / row.ours.seconds:.2f} ×",
                f"{row.ours.cpu:.2f} s",
                f"{row.other.cpu:.2f} s",
            )
            for row in rows
            if row.other
        ],
    )


def _startup(results: Results) -> str:
    commands = list(dict.fromkeys(command for command, _ in results.startup))
    return table(
        ("", "ours", "peer"),
        [
            (f"`{command}`", *(_seconds(results.startup.get((command, side))) for side in ("ours", "peer")))
            for command in commands
        ],
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned so that it reads in a terminal too."""
    lines = [list(header), *map(list, rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )
