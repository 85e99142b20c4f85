"""`make bench`: this library and `encord-agents` 0.2.10, side by side."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks import chart, document, media, scale_page, scenarios
from benchmarks.measure import ours, peer
from benchmarks.scale import Scale
from benchmarks.scenarios import Results, Row, Scenario

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
PLOT = Path(__file__).parent / "results" / "performance.svg"
QUICK_TASKS = 300
QUICK_OVER_A_NETWORK = 60
"""There, the peer takes a third of a second for some tasks."""


def main() -> None:
    options = _options()
    sides = ours(), peer(options.peer)
    if options.only == ["media"]:
        media.measure(sides, options.repeat, write=True)
        return
    wanted = _wanted(options.tasks, full=options.full, quick=options.quick)
    known = [*wanted, *(scenario.key for found in wanted.values() for scenario in found), "start", "media"]
    if unknown := [key for key in options.only or () if key not in known]:
        raise SystemExit(f"Unknown: {', '.join(unknown)}. There are: {', '.join(known)}.")
    started = time.monotonic()
    rows: dict[str, Row] = {}
    for group, scenario in ((group, scenario) for group, found in wanted.items() for scenario in found):
        if options.only and group not in options.only and scenario.key not in options.only:
            continue
        row = rows[scenario.key] = scenarios.measure(scenario, *sides, options.repeat)
        print(_line(row), flush=True)
    startup = {}
    if not options.only or "start" in options.only:
        startup = scenarios.startup(sides, str(Path(__file__).parent / "hello.py"), repeat=5)
    results = Results(options.tasks, rows, startup)
    print(f"\n{document.tables(results)}\nmeasured in {time.monotonic() - started:.0f} s")
    if options.only or options.quick:
        print("Only a part: nothing is written. Targets are meant for a full run.")
        return
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(chart.chart(results))
    PAGE.write_text(scale_page.with_section(document.page(results), Scale.read()))
    print(f"Written: {PAGE.relative_to(ROOT)}, {PLOT.relative_to(ROOT)}")
    media.measure(sides, options.repeat, write=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each number; the median counts")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TASKS} tasks, once, and less of it")
    parser.add_argument("--full", action="store_true", help="also 100,000 waiting tasks")
    parser.add_argument(
        "--only", action="append", metavar="KEY", help="only this scenario, or group of them; may be repeated"
    )
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument(
        "--peer", type=Path, default=ROOT / ".venv-peer", help="the peer's virtual environment, made if missing"
    )
    options = parser.parse_args()
    if options.quick:
        options.repeat, options.tasks = 1, QUICK_TASKS
    return options


def _wanted(tasks: int, *, full: bool, quick: bool) -> dict[str, list[Scenario]]:
    wanted = {
        "speed": [*scenarios.speed(tasks)],
        "network": [*scenarios.network(min(tasks, QUICK_OVER_A_NETWORK) if quick else tasks)],
        "processor": [*scenarios.processor(tasks)],
    }
    if quick:
        return wanted
    return {**wanted, "memory": [*scenarios.memory(full=full)], "processes": [*scenarios.processes(tasks)]}


def _line(row: Row) -> str:
    against = f"  peer {row.peer.seconds:7.2f} s  {row.ratio:5.2f} x" if row.peer else ""
    against += (
        f"  other {row.other.seconds:6.2f} s  {row.other.seconds / row.ours.seconds:5.2f} x"
        if row.other and not row.scenario.alone
        else ""
    )
    against += f"  {row.ours.connections} connections" if row.ours.connections else ""
    against += f"  agents alone {row.agents_alone:6.2f} s" if row.agents_alone else ""
    return f"{row.scenario.key:8} ours {row.ours.seconds:7.2f} s{against}   {row.scenario.title}"


if __name__ == "__main__":
    main()
