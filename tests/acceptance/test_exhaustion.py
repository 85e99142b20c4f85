"""Without further threads, a run ends with an error or does with fewer: it never hangs, and its report is complete.

Each run is in a process of its own, which shows its stacks and ends if the run does not end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests import preloaded

ROOT = Path(__file__).parents[2]

RUN = """
import faulthandler, sys, threading
from encord.objects import LabelRowV2
from encord_agents.core.assets import Asset
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.engine import overlap
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.tasks.runner import apart
from tests.thorough import THOROUGH

TASKS = 6
start, start_new = threading.Thread.start, overlap.start_new_thread
left = None
asked = 0

def may_start():
    global asked
    asked += 1
    if left is not None and asked > left:
        raise RuntimeError("can't start new thread")

def limited(thread):
    if thread.name.startswith("encord-agents"):
        may_start()
    start(thread)

def limited_new(function, args):
    may_start()
    return start_new(function, args)

threading.Thread.start = limited
overlap.start_new_thread = apart.start_new_thread = limited_new

def run(kind, platform):
    stages = [AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")]
    project = platform.create_project(workflow=Workflow(stages))
    project.add_placeholders(TASKS)
    client = platform.client(retries=False)
    calls = []

    def attempt(row):
        calls.append(row.data_hash)
        if calls.count(row.data_hash) == 1:
            raise LookupError("the first attempt")
        return TaskAgentReturnStruct(pathway="complete", label_row=row, label_row_priority=0.5)

    def with_file(label_row: LabelRowV2, asset: Asset):
        asset.path()
        return attempt(label_row)

    async def asynchronous(label_row: LabelRowV2, asset: Asset):
        return attempt(label_row)

    if kind == "drain":
        from concurrent.futures import ThreadPoolExecutor
        runner = QueueRunner(project.project_hash, user_client=client)
        runner.stage("Pre-label")(with_file)
        def go():
            with ThreadPoolExecutor(2) as pool:
                runner.drain(executor=pool, progress="none", batch_size=2)
    else:
        runner = Runner(project.project_hash, user_client=client)
        runner.stage("Pre-label")(asynchronous if kind == "async" else with_file)
        options = {"workers": {"max_workers": 4}, "async": {"max_workers": 3}}.get(kind, {})
        def go():
            runner(progress="none", num_retries=1, **options)
    runner.timing = Timing(gather=0.1)
    error = None
    try:
        go()
    except RuntimeError as raised:
        error = raised
        assert "can't start new thread" in str(error), repr(error)
    report = runner.report
    done = project.stage("Done").tasks
    assert done == report.moved, (done, str(report))
    assert (report.skipped, report.unconfirmed) == (0, ()), str(report)
    if error is None:
        assert report.moved + report.failed == TASKS, str(report)
    else:
        assert report.stopped, str(report)
    return error

kind = sys.argv[1]
faulthandler.dump_traceback_later(120, exit=True)
with LocalPlatform() as platform:
    assert run(kind, platform) is None
    starts = asked
    errors = 0
    # Of many threads of one kind not each is worth a run.
    for left in range(starts) if THOROUGH else [*range(starts)[:8], *range(starts)[8::3]]:
        faulthandler.dump_traceback_later(60, exit=True)
        asked = 0
        errors += run(kind, platform) is not None
faulthandler.cancel_dump_traceback_later()
print(starts, errors)
"""


@pytest.mark.parametrize("kind", ["window", "workers", "async", "drain"])
def test_a_system_without_threads(kind: str) -> None:
    """However many it still has: the run ends with the error, or does what there is to do, and its report is true."""
    process = preloaded.run(
        [sys.executable, "-c", RUN, kind],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 0, process.stderr[-6000:]
    starts, errors = (int(number) for number in process.stdout.split())
    assert starts >= (1 if kind == "drain" else 10)
    assert errors >= 1
