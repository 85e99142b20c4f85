"""`make soak`: long runs by hand. What grows that should not: threads, open files, memory?

In this process, against a platform in its own: hundreds of passes, an outage in the middle of a run, and very many
tasks for an agent that does nothing.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from encord import EncordUserClient
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask

from benchmarks.document import table
from benchmarks.platform_process import PlatformProcess
from benchmarks.targets import MEGABYTE
from encord_agents.tasks import Runner
from encord_agents.tasks.engine.events import Event, PassFinished
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskAgentReturnStruct

WARM_UP = 20
"""Passes before anything is compared: caches fill, the allocator takes what it will keep."""
MAY_GROW = 10 * MEGABYTE
"""Between the warm-up and the last pass."""


@dataclass(frozen=True)
class State:
    """The resources that this process holds. `memory` is resident, in bytes."""

    threads: int
    files: int
    memory: int

    @classmethod
    def now(cls) -> State:
        gc.collect()
        status = Path("/proc/self/status").read_text().splitlines()
        resident = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))
        return cls(threading.active_count(), len(os.listdir("/proc/self/fd")), resident)


@dataclass(frozen=True)
class Outcome:
    """One part: the states before and after it, and what went wrong."""

    name: str
    before: State
    after: State
    note: str
    trouble: str = ""

    @property
    def leaks(self) -> bool:
        return self.after.threads > self.before.threads or self.after.files > self.before.files


def outage(tasks: int, seconds: float) -> Outcome:
    """The platform goes away in the middle, and comes back."""
    with PlatformProcess(tasks, latency=0.03, latency_per_item=0.0005) as platform:
        runner = _runner(platform)

        @runner.stage("Work")
        def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
            time.sleep(0.005)
            return TaskAgentReturnStruct(pathway="done", label_row=label_row, label_row_priority=0.5)

        def cut() -> None:
            while platform.in_stage("Done") < tasks // 3:
                time.sleep(0.2)
            platform.down(True)
            time.sleep(seconds)
            platform.down(False)

        before = State.now()
        cutter = threading.Thread(target=cut)
        cutter.start()
        started = time.monotonic()
        report = runner(progress="none")
        taken = time.monotonic() - started
        cutter.join()
        done, saves = platform.in_stage("Done"), platform.requests().get("save", 0)
        moved = sum(stage.moved for stage in report.stages)
        trouble = "" if done == moved == tasks else f"{done} of {tasks} tasks arrived, the report says {moved}"
        note = f"{moved} of {tasks} tasks moved in {taken:.0f} s; {saves} saves"
        return Outcome(f"an outage of {seconds:g} s", before, State.now(), note, trouble)


def many(tasks: int) -> Outcome:
    """A full stage, an agent that does nothing, a platform that answers at once."""
    with PlatformProcess(tasks) as platform:
        runner = _runner(platform)
        runner.stage("Work")(_nothing)
        before = State.now()
        started = time.monotonic()
        report = runner(progress="none")
        taken = time.monotonic() - started
        moved, done = sum(stage.moved for stage in report.stages), platform.in_stage("Done")
        note = f"{moved} tasks in {taken:.0f} s, {moved / taken:.0f} a second; {len(report.records)} records kept"
        trouble = "" if done == moved == tasks else f"{done} of {tasks} tasks arrived, the report says {moved}"
        del report
        runner.report = None
        return Outcome(f"{tasks:,} tasks", before, State.now(), note, trouble)


def passes(number: int) -> Outcome:
    """Calls of one runner, a few new tasks before each."""
    with PlatformProcess(10) as platform:
        runner = _runner(platform)
        runner.stage("Work")(_nothing)
        moved, before = 0, State.now()
        for done in range(WARM_UP + number):
            if done == WARM_UP:
                before = State.now()
            platform.add(10)
            moved += sum(stage.moved for stage in runner(progress="none").stages)
        return _steady(f"{number} calls of a runner", before, moved, 10 + 10 * (WARM_UP + number))


def polling(number: int) -> Outcome:
    """Passes of one call with `refresh_every`; the first quarter of them is warm-up.

    The least that a user may ask for is a second, so this part takes some minutes: a clock that runs faster would also
    shorten the waits that are to be looked at.
    """
    with PlatformProcess(10) as platform:
        runner = _runner(platform)
        runner.stage("Work")(_nothing)
        stop, states, ended = Stop(), [State.now()], 0

        def watch(event: Event) -> None:
            nonlocal ended
            if isinstance(event, PassFinished):
                ended += 1
                if ended in (number // 4, number):
                    states.append(State.now())
                if ended == number:
                    stop.request()
                else:
                    platform.add(10)

        runner.observers.append(watch)
        report = runner(refresh_every=1, progress="none", stop=stop)
        moved = sum(stage.moved for stage in report.stages)
        outcome = _steady(f"{number} passes of one call", states[1], moved, 10 * number, after=states[-1])
        if (report.passes, report.failed) != (number, 0):
            return replace(outcome, trouble=f"{report.passes} passes, {report.failed} failures")
        return outcome


def _steady(name: str, before: State, moved: int, expected: int, after: State | None = None) -> Outcome:
    after = after or State.now()
    grown = after.memory - before.memory
    trouble = "" if moved == expected else f"{moved} of {expected} tasks moved"
    if grown > MAY_GROW:
        trouble = f"{trouble}; memory grew" if trouble else "memory grew"
    return Outcome(name, before, after, f"{moved} tasks moved", trouble)


def _nothing(task: AgentTask) -> str:
    return "done"


def _runner(platform: PlatformProcess) -> Runner:
    client = EncordUserClient.create_with_ssh_private_key(
        platform.environment["ENCORD_SSH_KEY"], domain=platform.environment["ENCORD_DOMAIN"]
    )
    return Runner(platform.project, user_client=client)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--passes", type=int, default=300)
    parser.add_argument("--polls", type=int, default=300)
    options = parser.parse_args()
    logging.getLogger("encord_agents").setLevel(logging.ERROR)
    parts: list[Callable[[], Outcome]] = [
        lambda: passes(options.passes),
        lambda: polling(options.polls),
        lambda: outage(3000, options.outage),
        lambda: many(options.tasks),
    ]
    outcomes = []
    for part in parts:
        outcome = part()
        print(f"{outcome.name}: {outcome.note} {outcome.trouble}", flush=True)
        outcomes.append(outcome)
    rows = [
        (
            o.name,
            o.note,
            f"{o.before.threads} → {o.after.threads}",
            f"{o.before.files} → {o.after.files}",
            f"{o.before.memory / MEGABYTE:.0f} → {o.after.memory / MEGABYTE:.0f} MB",
            o.trouble or ("**leaks**" if o.leaks else "yes"),
        )
        for o in outcomes
    ]
    print("\n" + table(("", "what happened", "threads", "open files", "memory", "good"), rows))
    if any(o.trouble or o.leaks for o in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
