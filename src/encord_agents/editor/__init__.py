"""Editor agents: functions that a person in the label editor has called for the frame on the screen.

A request goes one way through all doors (FastAPI, Google Cloud Functions, AWS Lambda): it is read (`wire`), its label
row is taken (`turns`) and loaded (`loading`), the function is called with what it asks for (`agent`), and what became
of it is answered (`wire`). Injection is that of task agents.
"""

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.editor.agent import EditorAgent
from encord_agents.exceptions import EncordEditorAgentException

__all__ = ["Depends", "EditorAgent", "EditorAgentResponse", "EncordEditorAgentException"]
