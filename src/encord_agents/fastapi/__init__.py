"""Editor agents on FastAPI."""

from encord_agents.extras import require

require("fastapi", "encord_agents.fastapi")

# ruff: noqa: E402 - imported only once the extra is known to be there
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.exceptions import EncordEditorAgentException
from encord_agents.fastapi.cors import EncordCORSMiddleware, EncordTestHeaderMiddleware, get_encord_app
from encord_agents.fastapi.dependencies import dep_client, dep_label_row, dep_single_frame
from encord_agents.fastapi.notifications import (
    add_notification_handlers,
    dep_task_notification,
    dep_task_notification_with_args,
)
from encord_agents.fastapi.serving import serve_runner
from encord_agents.fastapi.utils import verify_auth

__all__ = [
    "EditorAgentResponse",
    "EncordCORSMiddleware",
    "EncordEditorAgentException",
    "EncordTestHeaderMiddleware",
    "add_notification_handlers",
    "dep_client",
    "dep_label_row",
    "dep_single_frame",
    "dep_task_notification",
    "dep_task_notification_with_args",
    "get_encord_app",
    "serve_runner",
    "verify_auth",
]
