"""Names that existing code imports from here; they live in `encord_agents.tasks.runner.base`."""

from encord_agents.core.client import get_user_client
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.models import TaskAgentReturnType
from encord_agents.tasks.runner.base import RegisteredAgent as RunnerAgent
from encord_agents.tasks.runner.base import RunnerBase

__all__ = [
    "LabelRowInitialiseLabelsArgs",
    "LabelRowMetadataIncludeArgs",
    "PrintableError",
    "RunnerAgent",
    "RunnerBase",
    "TaskAgentReturnType",
    "get_user_client",
]
