"""The actions of the page, one function each: the same as the SDK and the command line have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from encord_agents.local import tasks
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.service import Service
from encord_agents.local.trouble import malformed
from encord_agents.local.workflow import ResolvedStage


@dataclass(frozen=True)
class Action:
    """A button.

    Attributes:
        value: What its form sends: the verb, a colon, and what the verb needs.
        label: What is on it.
        done: What is said of it afterwards, before a number of tasks.
        tone: ``good``, ``bad`` or ``plain``.
    """

    value: str
    label: str
    done: str
    tone: str = "plain"


def offered(project: ProjectRecord, stage: ResolvedStage) -> list[Action]:
    """The actions for tasks of a stage, the likeliest first."""
    return [
        Action(f"pathway:{pathway.uuid}", pathway.name, f"Sent down {pathway.name!r}:") for pathway in stage.pathways
    ]


def destinations(project: ProjectRecord, stage: ResolvedStage) -> list[ResolvedStage]:
    """The stages that tasks of a stage can be moved to by hand."""
    return [other for other in project.stages.values() if other.uuid != stage.uuid]


def act(service: Service, project: ProjectRecord, stage: ResolvedStage, value: str, uuids: Sequence[str]) -> str:
    """Do to tasks of a stage what a button says. All of them, or none.

    Returns:
        What was done, in words.

    Raises:
        Refusal: It cannot be done.
    """
    verb, _, target = value.partition(":")
    if not uuids:
        raise malformed("No task was chosen.")
    number = "1 task" if len(uuids) == 1 else f"{len(uuids)} tasks"
    if verb == "pathway":
        pathway = next((pathway for pathway in stage.pathways if pathway.uuid == target), None)
        if pathway is None:
            raise malformed(f"Stage {stage.title!r} has no such pathway.")
        tasks.move(service.database, project, stage.uuid, [(uuid, pathway.to) for uuid in uuids])
        return f"{number} sent down “{pathway.name}” to {project.stages[pathway.to].title}."
    if verb == "move":
        if target not in project.stages:
            raise malformed("The project has no such stage.")
        tasks.move(service.database, project, stage.uuid, [(uuid, target) for uuid in uuids])
        return f"{number} moved to {project.stages[target].title}."
    raise malformed("There is no such action.")


def reset(service: Service, project: ProjectRecord, *, keep_labels: bool) -> str:
    """Send all tasks of a project back to their start."""
    count = tasks.reset(service.database, project, keep_labels=keep_labels)
    be = "task is" if count == 1 else "tasks are"
    return f"{count:,} {be} at the start again; labels {'kept' if keep_labels else 'forgotten'}."
