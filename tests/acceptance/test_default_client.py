"""With the client that a user has, whose SDK repeats requests by itself: the engine's own rules hold all the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from encord.objects import LabelRowV2

from encord_agents.local import Fault
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

IN_FLIGHT = 8
"""Requests at once, at most."""


@pytest.fixture
def default(world: World) -> World:
    world.client = world.platform.client()
    world.platform.journal.body_limit = 1_000_000
    return world


def label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)


def test_too_large_is_split_at_once(default: World) -> None:
    """A bundle that is too large is sent once, then its halves are."""
    default.project.add_placeholders(40)
    default.platform.settings.body_limit = 12_000
    assert default.run(label).moved == 40
    refused = sum(entry.status == 413 for entry in default.platform.journal)
    # Halves of halves: fewer are refused than are not, unless one is sent twice.
    assert 0 < refused < default.platform.journal.count("save")


def test_retry_after_keeps_all_threads_still(default: World) -> None:
    """Also the SDK, which would not tell the others."""
    default.project.add_placeholders(150)
    default.platform.settings.latency = 0.02
    default.platform.faults.add(Fault("save", status=429, retry_after=1))

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        time.sleep(0.005)
        return label(label_row)

    assert default.run(agent, task_batch_size=10).moved == 150
    told = next(entry.at for entry in default.platform.journal if entry.status == 429)
    # Those that were on their way arrive all the same.
    meanwhile = [entry.kind for entry in default.platform.journal if told < entry.at < told + 0.95]
    assert len(meanwhile) < IN_FLIGHT


@pytest.mark.parametrize("window", [1, 10, 300])
def test_no_second_move_after_a_lost_answer(default: World, window: int) -> None:
    """No request names a task that an earlier one has moved."""
    default.project.add_placeholders(30)
    default.platform.faults.add(Fault("actions", action="drop_after", skip=1))
    assert default.run(label, task_batch_size=window).moved == 30
    for task in default.project.tasks():
        assert default.project.moves(task.uuid) == 1
        assert sum(task.uuid in entry.body for entry in default.platform.journal.of("actions")) == 1


def test_a_refused_row_is_never_sent_again_as_it_is(default: World) -> None:
    """Once alone, it has its answer."""
    hashes = default.project.add_placeholders(20)
    default.project.refuse_row(hashes[7])
    report = default.run(label)
    assert (report.moved, report.failed) == (19, 1)
    asked = [
        frozenset(data_hash for data_hash in hashes if data_hash in entry.body)
        for entry in default.platform.journal.of("save")
        if hashes[7] in entry.body
    ]
    assert len(asked) == len(set(asked))
    assert asked.count(frozenset({hashes[7]})) == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_what_agents_do_themselves_is_repeated_by_the_sdk(default: World, workers: int) -> None:
    """A hiccup of an agent's own request costs no attempt."""
    default.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> str:
        label_row.save()
        return "complete"

    default.platform.faults.add(Fault("save", status=503))
    report = default.run(agent, max_workers=workers)
    assert (report.moved, report.attempts) == (3, 3)
    assert default.platform.journal.count("save") == 4
