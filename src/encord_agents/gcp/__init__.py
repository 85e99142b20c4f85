"""Editor agents on Google Cloud Functions."""

from encord_agents.extras import require

require("gcp", "encord_agents.gcp")

# ruff: noqa: E402 - imported only once the extra is known to be there
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.exceptions import EncordEditorAgentException
from encord_agents.gcp.wrappers import editor_agent

__all__ = ["Depends", "EditorAgentResponse", "EncordEditorAgentException", "editor_agent"]
