"""Editor agents: functions that a person in the label editor calls for the frame on the screen.

A request is handled in the same way on FastAPI, Google Cloud Functions and AWS Lambda: it is read (`wire`), its label
row is locked (`row_queue`) and loaded (`loading`), the function is called with its parameters injected, as for task
agents (`agent`), and the outcome is sent back (`wire`).
"""

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.editor.agent import EditorAgent
from encord_agents.exceptions import EncordEditorAgentException

__all__ = ["Depends", "EditorAgent", "EditorAgentResponse", "EncordEditorAgentException"]
