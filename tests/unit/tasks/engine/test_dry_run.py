"""The writes that a dry run does not make, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.dry_run import dry_summary
from encord_agents.tasks.engine.outcome import Pathway

NO_CONTEXT: Any = None
GO = Pathway(uuid4(), "go", uuid4())


def row(objects: int, classifications: int) -> Any:
    return SimpleNamespace(
        get_object_instances=lambda: [None] * objects, get_classification_instances=lambda: [None] * classifications
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "would stay in its stage"),
        ({"pathway": GO}, "would move along 'go'"),
        ({"label_row": row(1, 2)}, "would stay in its stage, save 1 object and 2 classifications"),
        ({"label_row": row(0, 1)}, "would stay in its stage, save 0 objects and 1 classification"),
        ({"priority": 0.25}, "would stay in its stage, set its priority to 0.25"),
        (
            {"pathway": GO, "label_row": row(2, 0), "priority": 1.0},
            "would move along 'go', save 2 objects and 0 classifications, set its priority to 1",
        ),
    ],
)
def test_all_that_would_be_written_is_named(asked: dict[str, Any], words: str) -> None:
    """In the order: where the task goes, its labels, its priority."""
    assert dry_summary(Result(NO_CONTEXT, **asked)) == words


@pytest.mark.parametrize("error", [LookupError, SystemExit])
def test_labels_that_cannot_be_counted_are_saved_all_the_same(error: type[BaseException]) -> None:
    """A row with code of the agent's own may raise anything: the labels are serialised already."""

    def refuse() -> None:
        raise error

    odd: Any = SimpleNamespace(get_object_instances=refuse)
    assert dry_summary(Result(NO_CONTEXT, label_row=odd)) == "would stay in its stage, save its labels"
