"""The buttons of the page, which call the same functions as the SDK's routes and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from encord_agents.local import people, tasks
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.service import Service
from encord_agents.local.trouble import malformed
from encord_agents.local.workflow import ResolvedStage


@dataclass(frozen=True)
class Action:
    """A button.

    Attributes:
        value: The value that its form sends: a verb and, after a colon, the verb's argument.
        label: The text on it.
        tone: ``good``, ``bad`` or ``plain``.
    """

    value: str
    label: str
    tone: str = "plain"


_VERBS: dict[str, tuple[Action, str, Callable[..., None]]] = {
    "submit": (Action("submit", "Submit", "good"), "submitted", people.submit),
    "approve": (Action("approve", "Approve", "good"), "approved", people.approve),
    "reject": (Action("reject", "Reject", "bad"), "rejected", people.reject),
}
"""Actions of people -> the button, the participle for the message afterwards, and the function."""


def offered(stage: ResolvedStage) -> list[Action]:
    """Return the actions for tasks of a stage, apart from moving them to any stage."""
    if stage.type == "agent":
        return [Action(f"pathway:{pathway.uuid}", pathway.name) for pathway in stage.pathways]
    return [_VERBS[name][0] for name in people.possible(stage) if name in _VERBS]


def destinations(project: ProjectRecord, stage: ResolvedStage) -> list[ResolvedStage]:
    """Return the stages that tasks of a stage can be moved to by hand."""
    return [other for other in project.stages.values() if other.uuid != stage.uuid]


def act(service: Service, project: ProjectRecord, stage: ResolvedStage, value: str, uuids: Sequence[str]) -> str:
    """Perform a button's action on tasks of a stage, all or none.

    Returns:
        A sentence about the result.

    Raises:
        Refusal: The action is not possible.
    """
    verb, _, target = value.partition(":")
    if not uuids:
        raise malformed("No task was chosen.")
    number = "1 task" if len(uuids) == 1 else f"{len(uuids)} tasks"
    if verb == "pathway":
        pathway = next((pathway for pathway in stage.pathways if pathway.uuid == target), None)
        if stage.type != "agent" or pathway is None:
            raise malformed(f"Stage {stage.title!r} has no such pathway.")
        tasks.move(service.database, project, stage.uuid, [(uuid, pathway.to) for uuid in uuids])
        return f"{number} sent down “{pathway.name}”{_to(project, pathway.to)}."
    if verb == "move":
        people.move(service.database, project, stage, uuids, target)
        return f"{number} moved{_to(project, target)}."
    if verb in _VERBS:
        _, told, function = _VERBS[verb]
        function(service.database, project, stage, uuids)
        return f"{number} {told}{_to(project, stage.leads(verb) or '')}."
    raise malformed("There is no such action.")


def _to(project: ProjectRecord, destination: str) -> str:
    """Return a phrase with the stage that tasks went to; empty for a router, which sends each to its own stage."""
    return f" to {project.stages[destination].title}" if destination in project.stages else ""


def reset(service: Service, project: ProjectRecord, *, keep_labels: bool) -> str:
    """Send all tasks of a project back to their start."""
    count = people.reset(service.database, project, keep_labels=keep_labels)
    be = "task is" if count == 1 else "tasks are"
    return f"{count:,} {be} at the start again; labels {'kept' if keep_labels else 'forgotten'}."
