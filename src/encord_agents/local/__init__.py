"""An Encord-compatible platform on this machine, for experiments, tests and CI without an account.

The unmodified ``encord`` SDK talks to it over loopback HTTP::

    from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

    workflow = Workflow([AgentStage("Pre-label", {"done": "Done"}), Stage("Done", "done")])
    with LocalPlatform() as platform:
        project = platform.create_project(workflow=workflow)
        project.add_placeholders(10)
        client = platform.client()

Names are loaded on first use: the plugin makes every pytest run import this package, so importing it must be cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from encord_agents.extras import require

if TYPE_CHECKING:
    from encord_agents.local.faults import Fault, Faults
    from encord_agents.local.journal import Entry, Journal
    from encord_agents.local.platform import LocalPlatform
    from encord_agents.local.project import LocalProject, StageRecord, TaskRecord
    from encord_agents.local.trouble import LocalPlatformError, UnknownRequestError, WorkflowError
    from encord_agents.local.workflow import AgentStage, Pathway, Stage, Workflow

__all__ = [
    "AgentStage",
    "Entry",
    "Fault",
    "Faults",
    "Journal",
    "LocalPlatform",
    "LocalPlatformError",
    "LocalProject",
    "Pathway",
    "Stage",
    "StageRecord",
    "TaskRecord",
    "UnknownRequestError",
    "Workflow",
    "WorkflowError",
]

_HOMES = {
    "AgentStage": "workflow",
    "Entry": "journal",
    "Fault": "faults",
    "Faults": "faults",
    "Journal": "journal",
    "LocalPlatform": "platform",
    "LocalPlatformError": "trouble",
    "LocalProject": "project",
    "Pathway": "workflow",
    "Stage": "workflow",
    "StageRecord": "project",
    "TaskRecord": "project",
    "UnknownRequestError": "trouble",
    "Workflow": "workflow",
    "WorkflowError": "trouble",
}


if not TYPE_CHECKING:  # otherwise checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "LocalPlatform":
            require("local", "encord_agents.local.LocalPlatform")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
