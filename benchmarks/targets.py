"""The targets, and the verdict on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.scenarios import Results, Row

MEGABYTE = 1e6
PER_WAITING_TASK = 3_000
"""Bytes."""
MORE_AT_ALL = 20 * MEGABYTE
CONNECTIONS = 12
STARTING = 0.15
"""Seconds that starting may take beyond ``import encord``."""


@dataclass(frozen=True)
class Target:
    """A promise about a number.

    Attributes:
        bound: In words, with the unit.
        measured: Likewise.
    """

    what: str
    bound: str
    measured: str
    met: bool


def targets(results: Results) -> Iterator[Target]:
    """Return the targets that the measurements can say something about."""
    for key, times in (("c0", 3.0), ("d0", 8.0), ("a0", 1.4)):
        if (row := results.get(key)) and row.ratio:
            yield _at_least(f"({key[0]}) against the peer", times, row.ratio)
    for key, times in (("anet", 2.2), ("bnet", 2.0), ("cnet", 4.2), ("dnet", 10.0)):
        if (row := results.get(key)) and row.ratio:
            yield _at_least(f"({key[0]}) over a network against the peer", times, row.ratio)
    for key in ("bbundled", "pbundled"):
        if (row := results.get(key)) and row.ratio:
            yield _at_least(f"({key[0]}) with `bundle_saves`, over a network, against the peer", 25.0, row.ratio)
    if over := [row for row in results.rows.values() if row.scenario.case.round_trip]:
        most = max(over, key=lambda row: row.ours.connections)
        yield Target(
            "connections of a run to the platform, over a network",
            f"≤ {CONNECTIONS}",
            f"{most.ours.connections} ({most.scenario.key})",
            most.ours.connections <= CONNECTIONS,
        )
    for key in ("a5", "c5", "d5"):
        if (row := results.get(key)) and row.agents_alone:
            measured = row.ours.seconds / row.agents_alone
            yield Target(
                f"({key[0]}) with 5 ms agents", "≤ 1.12 × the agents' own time", f"{measured:.2f} ×", measured <= 1.12
            )
    for letter, times in (("a", 1.0), ("b", 1.15), ("c", 1.25), ("d", 1.5)):
        if (row := results.get(f"{letter}zero")) and row.ratio:
            yield _at_least(f"({letter}) against the peer, no latency", times, row.ratio)
    workers, alone, bundled = results.get("w0"), results.get("b0"), results.get("c0")
    if workers and alone and alone.peer:
        yield _at_least("(b) with 8 workers against the peer", 6.0, alone.peer.seconds / workers.ours.seconds)
    if alone and bundled:
        yield _at_least("our (c) against our (b)", 10.0, alone.ours.seconds / bundled.ours.seconds)
    for key, where in (("drain", ""), ("drainzero", ", no latency")):
        if (drain := results.get(key)) and drain.other:
            ratio = drain.other.seconds / drain.ours.seconds
            yield _at_least(f"`drain(workers=2)` against `Runner`{where}", 1.75, ratio)
    few, many = results.get("m10000"), results.get("m100000")
    if few and many:
        yield _growth(few, many)
    if results.startup:
        base = results.startup["import encord", "ours"]
        for command in ("import encord_agents.tasks", "script --help"):
            if (command, "ours") not in results.startup:
                continue
            more = results.startup[command, "ours"] - base
            yield Target(f"`{command}`", f"≤ `import encord` + {STARTING} s", f"+ {more:.2f} s", more <= STARTING)


def _at_least(what: str, times: float, measured: float) -> Target:
    return Target(what, f"≥ {times:g} × as fast", f"{measured:.2f} ×", measured >= times)


def _growth(few: Row, many: Row) -> Target:
    tasks = many.scenario.case.tasks - few.scenario.case.tasks
    grown = many.ours.peak - few.ours.peak
    allowed = PER_WAITING_TASK * tasks + MORE_AT_ALL
    return Target(
        "memory from 10,000 to 100,000 waiting tasks",
        f"< {allowed / MEGABYTE:.0f} MB more (3 kB per task + 20 MB)",
        f"{grown / MEGABYTE:.0f} MB ({grown / tasks / 1000:.1f} kB per task)",
        grown < allowed,
    )
