"""What changes about an agent during a run."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError, replace
from typing import Any
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.history import CHANGED_ROW, ODD_LABELS, History, Row
from encord_agents.tasks.engine.retry import RetryPolicy


def bound() -> Agent:
    anything: Any = None
    return Agent(anything, anything, anything, RetryPolicy(3), anything, anything)


def test_an_agent_stays_as_it_was_declared() -> None:
    """Nothing of it can be changed during a run."""
    with pytest.raises(FrozenInstanceError):
        bound().restore_labels = True  # type: ignore[misc]


def test_copies_of_an_agent_have_one_history() -> None:
    """A worker's copy has another retry policy, and the same past."""
    agent = bound()
    other = replace(agent, policy=RetryPolicy(1))
    other.history.succeed()
    assert agent.history.has_succeeded
    assert not bound().history.has_succeeded


def test_each_thread_gets_a_number_of_its_own() -> None:
    """However many count at once: of twenty failures, one is the twentieth."""
    history, numbers, together = History(), [], threading.Barrier(8)

    def count() -> None:
        together.wait(60)
        numbers.extend(history.count("given up", uuid4()) for _ in range(200))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 1601))


def test_rows_are_counted_apart() -> None:
    """A good attempt ends the rows of failed attempts; only a written task ends that of refused ones."""
    history = History()
    rows: tuple[Row, ...] = ("dead letters", "given up", "refused")
    for _ in range(2):
        for row in rows:
            history.count(row, uuid4())
    history.succeed()
    assert [history.count(row, uuid4()) for row in rows] == [1, 1, 3]
    history.end("refused")
    assert history.count("refused", uuid4()) == 1


def test_a_task_counts_once_in_each_row() -> None:
    """However often it fails, before and after a success; unless it did not fail in between, or had left."""
    history, task, other = History(), uuid4(), uuid4()
    assert [history.count("given up", one) for one in (task, task, other, task)] == [1, 1, 2, 2]
    assert history.count("refused", task) == 1
    history.succeed()
    assert history.count("given up", task) == 0
    history.forget(task)
    assert [history.count("given up", one) for one in (task, other)] == [1, 1]


def test_an_agent_does_well_again_after_a_success() -> None:
    """Not before it has named a pathway, and not while the last task was dead-lettered."""
    history = History()
    assert not history.does_well
    history.has_named_a_pathway = True
    assert history.does_well
    history.count("dead letters", uuid4())
    assert not history.does_well
    history.succeed()
    assert history.does_well


def test_each_kind_of_warning_is_first_once() -> None:
    """Whoever asks first is told so, and later ones can see that it was given."""
    history = History()
    assert not history.has_warned_of(ODD_LABELS)
    assert [history.warns_first_of(ODD_LABELS) for _ in range(3)] == [True, False, False]
    assert history.has_warned_of(ODD_LABELS)
    assert not history.has_warned_of(CHANGED_ROW)


def test_labels_are_kept_until_the_warning_was_given() -> None:
    """After that, no other attempt needs them as they were loaded; with `restore_labels`, every one does."""
    agent = bound()
    assert agent.keeps_labels
    agent.history.warns_first_of(CHANGED_ROW)
    assert not agent.keeps_labels
    assert replace(agent, restore_labels=True).keeps_labels
    assert not replace(agent, restore_labels=True, policy=RetryPolicy(0)).keeps_labels


def test_tasks_that_stay_are_known() -> None:
    """In a later pass they come last."""
    history, uuid = History(), uuid4()
    history.remember(uuid)
    history.remember(uuid)
    assert history.known == {uuid}
