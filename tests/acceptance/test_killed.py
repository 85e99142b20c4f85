"""After `kill -9` nothing is lost: the next run repeats only what was not yet written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests import preloaded
from tests.waiting import until

if TYPE_CHECKING:
    from tests.conftest import World

SCRIPT = """
import os, time
from encord.objects import LabelRowV2
from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner(os.environ["TEST_PROJECT"])

@runner.stage("Pre-label")
def pre_label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    with open(os.environ["TEST_CALLS"], "a") as calls:
        calls.write(label_row.data_hash + "\\n")
    time.sleep(0.02)
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

raise SystemExit(runner(progress="none").exit_code)
"""
TASKS = 300


@pytest.mark.parametrize("after", [70, 190])
def test_kill_in_mid_run(world: World, tmp_path: Path, after: int) -> None:
    """With agents of 20 ms and the default batch, the second run moves all tasks; at most 60 agent calls are repeated,
    and at most one chunk of them on labels that were saved already."""
    world.platform.settings.latency = 0.01
    hashes = world.project.add_placeholders(TASKS)
    calls = tmp_path / "calls"
    calls.touch()
    environment = {
        **os.environ,
        **world.platform.environment(),
        "TEST_PROJECT": world.project.project_hash,
        "TEST_CALLS": str(calls),
    }
    first = preloaded.Popen([sys.executable, "-W", "ignore", "-c", SCRIPT], env=environment)
    assert until(lambda: len(calls.read_text().split()) >= after or first.poll() is not None)
    assert first.poll() is None, "it ended by itself"
    first.kill()
    first.wait()

    called = calls.read_text().split()
    waiting = {task.data_hash for task in world.project.tasks("Pre-label")}
    assert after <= len(called) < TASKS
    assert len(waiting) < TASKS, "nothing had been written by then"
    assert sum(world.project.saves(data_hash) > 0 for data_hash in waiting) <= 100

    second = preloaded.run([sys.executable, "-W", "ignore", "-c", SCRIPT], env=environment, check=False)
    assert second.returncode == 0
    assert world.count("Done") == TASKS
    assert all(world.project.moves(task.uuid) == 1 for task in world.project.tasks())
    assert set(calls.read_text().split()) == set(hashes)
    assert len(calls.read_text().split()) - TASKS <= 60
