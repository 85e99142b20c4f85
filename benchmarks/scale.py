"""`make bench-scale`: how cost grows with tasks, workers and batches, and what that says about many machines."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import scale_page
from benchmarks.celery_workers import Emptied, empty_a_stage
from benchmarks.measure import Case, ours

RESULTS = Path(__file__).parent / "results"
SCALE = RESULTS / "scale.json"


@dataclass(frozen=True)
class Point:
    """One measurement of a series.

    Attributes:
        x: What grows: tasks, workers, or tasks at once.
        peak: Bytes of memory at most.
        requests: Of all kinds, together.
    """

    series: str
    x: int
    tasks: int
    seconds: float
    cpu: float
    peak: float
    requests: int


@dataclass(frozen=True)
class Scale:
    """Everything that was measured, and where."""

    machine: Mapping[str, Any]
    points: list[Point] = field(default_factory=list)
    celery: list[Emptied] = field(default_factory=list)

    def of(self, series: str) -> list[Point]:
        return sorted((point for point in self.points if point.series == series), key=lambda point: point.x)

    def updated(self, newer: Scale) -> Scale:
        """Return this with the series that another has measured, in place of its own."""
        measured = {point.series for point in newer.points}
        kept = [point for point in self.points if point.series not in measured]
        return Scale(newer.machine, [*kept, *newer.points], newer.celery or self.celery)

    @classmethod
    def read(cls, path: Path = SCALE) -> Scale | None:
        """Return what was measured last; ``None`` where nothing was."""
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        points = [Point(**point) for point in found["points"]]
        return cls(found["machine"], points, [Emptied(**one) for one in found["celery"]])

    def write(self, path: Path = SCALE) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def cases(*, quick: bool) -> Iterator[tuple[str, int, Case]]:
    """Return the cases of `Runner` and `drain`: series, x, and the case."""
    for tasks in (300, 1_000, 3_000) if quick else (1_000, 3_000, 10_000, 30_000, 100_000):
        yield "tasks", tasks, Case("struct", tasks)
    few = 64 if quick else 320
    for workers in (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32):
        yield "threads", workers, Case("struct", few, 0.1, options={"max_workers": workers})
    for workers in (1, 2) if quick else (1, 2, 3, 4):
        options = {"workers": workers}
        yield "waiting processes", workers, Case("drained_struct", few, 0.1, options=options)
        yield "computing processes", workers, Case("drained", 2 * few, 0.02, options=options)
    for window in (1, 10, 100) if quick else (1, 3, 10, 30, 100, 300, 1_000):
        tasks = min(few * 3, 40 * window) if quick else min(1_000, 100 * window)
        yield "window", window, Case("struct", tasks, options={"task_batch_size": window})


def on_celery(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Return the cases on Celery: arguments of `empty_a_stage`."""
    for workers in (1, 2) if quick else (1, 2, 3, 4):
        yield {"tasks": 200 if quick else 200 + 200 * workers, "workers": workers, "batch": 10, "agent_seconds": 0.1}
    for batch in (1, 10) if quick else (1, 3, 10, 30, 100):
        tasks = min(100, 50 * batch) if quick else min(1_000, 100 * batch)
        yield {"tasks": tasks, "workers": 1, "batch": batch, "agent_seconds": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few points of each; writes nothing")
    parser.add_argument(
        "--only", action="append", metavar="SERIES", help="only this series, others as they were; may be repeated"
    )
    parser.add_argument("--pages", action="store_true", help="only write pages and plots, from the last measurements")
    options = parser.parse_args()
    if not options.pages:
        measured = _measure(quick=options.quick, only=options.only)
        if options.quick:
            print(scale_page.section(measured))
            print("Only a few points: nothing is written.")
            return
        last = Scale.read()
        (last.updated(measured) if options.only and last is not None else measured).write()
    found = Scale.read()
    if found is None:
        raise SystemExit("Nothing was measured yet.")
    scale_page.write(found, RESULTS)


def _measure(*, quick: bool, only: list[str] | None) -> Scale:
    started = time.monotonic()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "on": time.strftime("%Y-%m-%d")}
    measured, side = Scale(machine), ours()
    for series, x, case in cases(quick=quick):
        if only and series not in only:
            continue
        one = side.measure(case)
        point = Point(series, x, case.tasks, one.seconds, one.cpu, one.peak, sum(one.requests.values()))
        measured.points.append(point)
        rate = case.tasks / one.seconds
        print(f"{series:20} {x:7,}  {one.seconds:7.2f} s  {rate:7.1f} tasks a second", flush=True)
    for arguments in on_celery(quick=quick) if not only or "celery" in only else ():
        emptied = empty_a_stage(**arguments)
        measured.celery.append(emptied)
        print(f"celery  {emptied}", flush=True)
    print(f"measured in {time.monotonic() - started:.0f} s")
    return measured


if __name__ == "__main__":
    main()
