"""Editor agents on AWS Lambda, behind function URLs and API Gateway."""

from encord_agents.aws.wrappers import editor_agent
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.exceptions import EncordEditorAgentException

__all__ = ["Depends", "EditorAgentResponse", "EncordEditorAgentException", "editor_agent"]
