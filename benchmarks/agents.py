"""The agents that are measured: one file for both libraries, run by the interpreter of either.

Environment: ``BENCH_SCENARIO`` (a name of `AGENTS`, or ``drained``, ``drained_struct``), ``BENCH_PROJECT``,
``BENCH_AGENT_SECONDS``, ``BENCH_OPTIONS`` (JSON, for the runner's call), ``BENCH_RESULT`` (the file to write to), and
where the platform is.
"""

import asyncio
import contextlib
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

SCENARIO = os.environ["BENCH_SCENARIO"]
SECONDS = float(os.environ["BENCH_AGENT_SECONDS"])
ADDITIONS = float(os.environ.get("BENCH_ADDITIONS", "80_000_000"))
"""The additions that Python does in a second."""
in_agents = 0.0


@contextlib.contextmanager
def own_time() -> Iterator[None]:
    """Mark the block as the agent's own work."""
    global in_agents
    started = time.perf_counter()
    yield
    in_agents += time.perf_counter() - started


def work() -> None:
    if SECONDS:
        time.sleep(SECONDS)


def add_box(label_row: LabelRowV2) -> None:
    person = label_row.ontology_structure.get_child_by_title("Person", type_=Object)
    instance = person.create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.1, top_left_y=0.2))
    label_row.add_object_instance(instance)


def task_only(task: AgentTask) -> str:
    with own_time():
        work()
    return "done"


def held_up(task: AgentTask) -> str:
    """Does nothing, but the first call is so slow that all the others wait in memory."""
    if not in_agents:
        with own_time():
            work()
    return "done"


def save_in_agent(label_row: LabelRowV2) -> str:
    work()
    add_box(label_row)
    label_row.save()
    return "done"


def prioritise(label_row: LabelRowV2) -> str:
    work()
    label_row.set_priority(0.5)
    return "done"


def struct(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    with own_time():
        work()
        add_box(label_row)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row, label_row_priority=0.5)


def first_frame(frame: Annotated[Any, Depends(dep_single_frame)]) -> str:
    with own_time():
        work()
        assert frame.shape[2] == 3
    return "done"


async def awaiting(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    await asyncio.sleep(SECONDS)
    add_box(label_row)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row, label_row_priority=0.5)


def computing(task: AgentTask) -> str:
    """Keeps a processor busy, with Python, for as long as the others would sleep: by the amount of work, so that a call
    that has to share its processor takes longer."""
    for _ in range(round(SECONDS * ADDITIONS / 1000)):
        sum(range(1000))
    return "done"


AGENTS = {
    f.__name__: f for f in (task_only, held_up, save_in_agent, prioritise, struct, first_frame, awaiting, computing)
}

if SCENARIO.startswith("drained"):  # by this library only; at the top level, where worker processes find it
    from encord_agents.tasks import QueueRunner

    queue = QueueRunner(project_hash=os.environ["BENCH_PROJECT"])


if SCENARIO == "drained":

    @queue.stage("Work")
    def drained(task: AgentTask) -> str:
        return computing(task)


if SCENARIO == "drained_struct":

    @queue.stage("Work", will_set_priority=True)
    def drained_struct(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return struct(label_row)


def peak_memory() -> int:
    """Bytes. Not `ru_maxrss`, where Linux counts what the process was forked from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def processor_time() -> float:
    """Seconds, of worker processes that have ended too."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    run: Any
    if SCENARIO.startswith("drained"):
        run = queue.drain
    else:
        run = Runner(project_hash=os.environ["BENCH_PROJECT"])
        run.stage("Work", will_set_priority=SCENARIO in ("struct", "awaiting"))(AGENTS[SCENARIO])
    cpu, started = processor_time(), time.perf_counter()
    run(**json.loads(os.environ.get("BENCH_OPTIONS", "{}")))
    seconds = time.perf_counter() - started
    measured = {
        "seconds": seconds,
        "cpu": processor_time() - cpu,
        "in_agents": in_agents,
        "peak": peak_memory(),
    }
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
