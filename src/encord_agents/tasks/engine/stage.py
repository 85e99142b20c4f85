"""Resolution of names and uuids to stages and pathways; no other module resolves them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from encord.workflow.stages.agent import AgentStage

from encord_agents.exceptions import Named, UnknownPathwayError, UnknownStageError
from encord_agents.tasks.engine.outcome import Pathway

__all__ = ["Pathways", "as_text", "as_uuid", "find_stage", "names_stage"]


_NUMBER = UUID.__dict__["int"]


def as_uuid(value: object) -> UUID | None:
    """Return the uuid that ``value`` is or spells, or ``None`` for anything else, such as a title."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and len(value) >= 32:  # the digits of a uuid; cheaper than trying `UUID` on every name
        try:
            return UUID(value)
        except ValueError:
            return None
    return None


def as_text(given: str | UUID) -> str | UUID:
    """Return a name or a uuid as Python's own `str` or `UUID`, however a subclass compares or shows itself.

    The text of a member of ``class Way(str, Enum)``, for instance, is ``Way.ON``.
    """
    if isinstance(given, str):
        return str.__str__(given)
    return given if type(given) is UUID else UUID(int=_NUMBER.__get__(given))


def find_stage(stages: Iterable[Any], given: str | UUID) -> AgentStage:
    """Return the agent stage of a workflow that a title or a uuid names.

    Raises:
        UnknownStageError: There is no such stage, or there are several of that title, or it is not an agent stage.
    """
    given = as_text(given)
    everything = list(stages)
    agents = [stage for stage in everything if isinstance(stage, AgentStage)]
    valid = [Named(stage.title, str(stage.uuid)) for stage in agents]
    uuid = as_uuid(given)
    if uuid is not None and (by_uuid := [stage for stage in everything if stage.uuid == uuid]):
        found = by_uuid
    else:
        found = [stage for stage in everything if stage.title == given]
    matches = [stage for stage in found if isinstance(stage, AgentStage)]
    if len(matches) == 1:
        return matches[0]
    if len(matches) > 1:
        raise UnknownStageError(
            given, valid, reason=f"The project has {len(matches)} agent stages {str(given)!r}: name one by its uuid."
        )
    if found:
        kind = str(found[0].stage_type.value).replace("_", " ").lower()
        raise UnknownStageError(
            given, valid, reason=f"Stage {str(given)!r} is of type {kind}: agents serve agent stages."
        )
    raise UnknownStageError(given, valid)


def names_stage(given: str | UUID, stage: AgentStage) -> bool:
    """Return True if a title or a uuid may mean this stage."""
    return as_uuid(given) == stage.uuid or given == stage.title


class Pathways:
    """The pathways out of one agent stage."""

    def __init__(self, stage: AgentStage, stages: Iterable[Any]) -> None:
        self.stage = stage
        self.all = tuple(Pathway(p.uuid, p.name, p.destination_uuid) for p in stage.pathways)
        self._by_uuid = {pathway.uuid: pathway for pathway in self.all}
        self._by_name: dict[str, list[Pathway]] = {}
        for pathway in self.all:
            self._by_name.setdefault(pathway.name, []).append(pathway)
        self._titles: dict[UUID, str] = {stage.uuid: stage.title for stage in stages}

    def find(self, given: str | UUID) -> Pathway:
        """Return the pathway that a name or a uuid names.

        Raises:
            UnknownPathwayError: There is no such pathway; the error lists the stage's pathways.
        """
        given = as_text(given)
        uuid = as_uuid(given)
        if uuid is not None and uuid in self._by_uuid:
            return self._by_uuid[uuid]
        named = self._by_name.get(str(given), [])
        if len(named) == 1:
            return named[0]
        valid = [Named(pathway.name, str(pathway.uuid)) for pathway in self.all]
        leading_there = [
            p for p in self.all if self._titles.get(p.destination_uuid) == str(given) or p.destination_uuid == uuid
        ]
        suggestion = leading_there[0].name if len(leading_there) == 1 else None
        raise UnknownPathwayError(given, self.stage.title, valid, suggestion=suggestion)
