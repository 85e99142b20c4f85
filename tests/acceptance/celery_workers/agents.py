"""What the workers of the tests run. What is to happen with a task is in its title; what happened goes to a file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Annotated

from celery import Celery
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask

from encord_agents.integrations.celery import register
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct

LOG = os.environ["AGENTS_LOG"]
SECONDS = float(os.environ.get("AGENTS_SECONDS", "0"))


def note(*words: object) -> None:
    """A line in the log. Short lines that are appended do not mix."""
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(" ".join(str(word) for word in (f"{time.time():.3f}", os.getpid(), *words)) + "\n")


def model() -> Iterator[str]:
    """What is expensive to make."""
    note("made", "model")
    yield "model"
    note("closed", "model")


runner = QueueRunner(os.environ["AGENTS_PROJECT"])


@runner.stage("Pre-label")
def pre_label(
    label_row: LabelRowV2, task: AgentTask, loaded: Annotated[str, Depends(model, scope="run")]
) -> TaskAgentReturnStruct | None:
    """Save a box and a priority, and move the task on."""
    note("begin", task.uuid)
    time.sleep(SECONDS)
    if task.data_title.startswith("poison"):
        note("end", task.uuid)
        raise ValueError(f"{task.data_title} cannot be read")
    if task.data_title.startswith("killer"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.data_title.startswith("stays"):
        note("end", task.uuid)
        return None
    note("end", task.uuid)
    return TaskAgentReturnStruct("complete", label_row, 0.5)


app = Celery("agents", broker=os.environ["AGENTS_BROKER"], backend=os.environ.get("AGENTS_BACKEND"))
app.conf.broker_transport_options = {"visibility_timeout": float(os.environ.get("AGENTS_VISIBILITY", "3600"))}
if "AGENTS_QUEUE_TYPE" in os.environ:  # RabbitMQ's; a queue keeps its type
    kind = os.environ["AGENTS_QUEUE_TYPE"]
    app.conf.update(task_default_queue=kind, task_default_queue_type=kind, task_default_exchange_type="topic")
register(
    runner,
    app,
    batch_size=int(os.environ.get("AGENTS_BATCH", "10")),
    retry_delay=0.2,
    poll_every=float(os.environ["AGENTS_POLL"]) if "AGENTS_POLL" in os.environ else None,
)
