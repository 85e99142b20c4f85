"""Celery: a Celery task for each stage, and a poll that fills the queue without sending any task twice.

::

    runner = QueueRunner(project_hash="...")

    @runner.stage("Pre-label")
    def pre_label(label_row: LabelRowV2) -> str: ...

    app = register(runner, Celery("agents", broker="redis://..."), poll_every=60)

    # celery -A agents worker -B               workers, and a beat process that polls
    # encord-agents celery enqueue agents:app  or once, by hand

A message is a batch of tasks as JSON. A worker passes it to the stage's queue function, which reports the outcome of
each task. Celery retries the tasks that may succeed another time; the others are not sent again.
"""

from encord_agents.extras import require

require("celery", "encord_agents.integrations.celery")

from encord_agents.integrations.celery.delivery import AgentTasksFailed  # noqa: E402
from encord_agents.integrations.celery.filling import StageStatus, enqueue, status  # noqa: E402
from encord_agents.integrations.celery.registration import register  # noqa: E402
from encord_agents.integrations.celery.store import BrokerError  # noqa: E402

__all__ = ["AgentTasksFailed", "BrokerError", "StageStatus", "enqueue", "register", "status"]
