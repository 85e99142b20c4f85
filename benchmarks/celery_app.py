"""The Celery app that is measured. Environment: as for `benchmarks.agents`, ``BENCH_BROKER`` and ``BENCH_BATCH``."""

from __future__ import annotations

import os
import time

from celery import Celery
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates

from encord_agents.integrations.celery import register
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct

SECONDS = float(os.environ["BENCH_AGENT_SECONDS"])

runner = QueueRunner(project_hash=os.environ["BENCH_PROJECT"])


@runner.stage("Work", will_set_priority=True)
def struct(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    """As (c) of the other benchmarks: wait, add one box, set a priority."""
    time.sleep(SECONDS)
    instance = label_row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.1, top_left_y=0.2))
    label_row.add_object_instance(instance)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row, label_row_priority=0.5)


app = register(
    runner, Celery("bench", broker=os.environ["BENCH_BROKER"]), batch_size=int(os.environ.get("BENCH_BATCH", "10"))
)
