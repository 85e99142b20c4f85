"""Projects opened again within a moment: without requests, and without anything that two callers share."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
from encord.http.v2.api_client import ApiClient

from encord_agents.core.sdk.remembered import MOST, Remembered

if TYPE_CHECKING:
    from tests.conftest import World

OPENING = ("get_project", "get_ontology")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_asked_again_within_the_time(world: World) -> None:
    """Two requests open a project; then none do, for as long as was said; then two again."""
    clock = Clock()
    remembered = Remembered(2.0, clock)
    counts = []
    for seconds in (0, 0, 2, 0.1):
        clock.now += seconds
        before = len(world.requests())
        project = remembered.open(world.client, world.project.project_hash, "me")
        assert project.title == world.project.title
        assert [one.title for one in project.ontology_structure.objects] == ["Person"]
        counts.append(len(world.requests()) - before)
    assert counts == [2, 0, 0, 2]


def test_each_caller_has_a_project_of_its_own(world: World) -> None:
    """What one does to it, or to its ontology, is not seen by the other; what is asked of it is asked."""
    remembered = Remembered(60)
    one, other = (remembered.open(world.client, world.project.project_hash, "me") for _ in range(2))
    one.ontology_structure.objects[0].name = "Changed"
    assert other.ontology_structure.objects[0].name == "Person"
    before = len(world.requests())
    other.refetch_data()
    assert len([*other.workflow.stages]) == 4
    assert len(world.requests()) == before + 1
    world.project.add_image("a")
    (row,) = other.list_label_rows_v2()
    row.initialise_labels()
    world.mark(row)
    row.save()


def test_answers_are_one_callers(world: World) -> None:
    """Somebody with another key is asked for by himself, and a project that is refused is asked for each time."""
    remembered = Remembered(60)
    remembered.open(world.client, world.project.project_hash, "me")
    before = len(world.requests())
    remembered.open(world.client, world.project.project_hash, "you")
    assert len(world.requests()) == before + 2
    for _ in range(2):
        before = len(world.requests())
        with pytest.raises(Exception, match="access"):
            remembered.open(world.client, "00000000-0000-0000-0000-000000000000", "me")
        assert len(world.requests()) == before + 1


def test_copies_are_plain_objects_of_the_sdk(world: World) -> None:
    """Whoever keeps or hands on a client of a project has nothing of ours."""
    project = Remembered(60).open(world.client, world.project.project_hash, "me")
    assert type(copy.copy(project._api_client)) is ApiClient


def test_few_answers_are_kept() -> None:
    """Not one for each project that was ever asked for."""
    remembered = Remembered(60)

    class Answer:
        def model_copy(self) -> Answer:
            return self

    for number in range(MOST + 5):
        remembered.get(number, Answer)
    assert len(remembered._kept) <= MOST
