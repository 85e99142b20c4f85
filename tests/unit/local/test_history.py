"""The history: each save and move with its client, the labels that were replaced, and its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow, history

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])


@pytest.fixture
def project() -> Iterator[LocalProject]:
    platform = LocalPlatform()
    project = platform.create_project(workflow=WORKFLOW)
    project.add_image("a.png")
    yield project
    platform.close()


def save(project: LocalProject, *contents: bytes) -> int:
    """Save contents as the label rows' module does, each in place of the one before. Returns the unit's id."""
    with project._database.write() as connection:
        unit = int(connection.execute("SELECT id FROM units").fetchone()["id"])
        connection.execute("INSERT OR IGNORE INTO labels VALUES (?, 'main', 'hash', NULL, 0, 0, 0)", (unit,))
        for content in contents:
            (row,) = connection.execute("SELECT content FROM labels").fetchall()
            connection.execute("UPDATE labels SET content = ?", (content,))
            history.saved(connection, project._record.id, [(unit, "main", row["content"], content)], at=1.0)
    return unit


def events(project: LocalProject, unit: int) -> list[tuple[str, str, int | None]]:
    return [(e.kind, e.client, e.version) for e in history.of_unit(project._database, unit, "main")]


def test_saves_and_moves(project: LocalProject) -> None:
    """Latest first, each with its client; a save that changes nothing is of the same version."""
    with history.acting(history.Client("first")):
        unit = save(project, b"1", b"1")
    with history.acting(history.Client("second" + "x" * 1000)):
        save(project, b"2")
    (task,) = project.tasks()
    project.move(task.uuid, "B")
    long = ("second" + "x" * 1000)[: history.LONGEST_CLIENT]
    assert events(project, unit) == [
        ("move", "Python on this machine", None),
        ("save", long, 2),
        ("save", "first", 1),
        ("save", "first", 1),
    ]
    (event, *_) = history.of_unit(project._database, unit, "main")
    a, b = (stage.uuid for stage in project.stages)
    assert (event.stage, event.destination) == (a, b)
    assert history.latest(project._database, [unit])[unit, "main"] == event
    assert history.moves_since(project._database, project._record, 0) == {("Python on this machine", a): 1}


def test_versions(project: LocalProject) -> None:
    """What was replaced can be had again, and the current labels; the oldest go when there are many."""
    unit = save(project, b"1", b"2", b"3")
    database = project._database
    assert history.versions(database, unit, "main") == [1, 2, 3]
    assert [history.version(database, unit, "main", n) for n in (0, 1, 2, 3, 4)] == [None, b"1", b"2", b"3", None]
    save(project, *(b"%d" % n for n in range(4, 40)))
    kept = history.versions(database, unit, "main")
    assert kept == list(range(39 - history.VERSIONS_KEPT, 40))
    assert history.version(database, unit, "main", kept[0]) == b"%d" % kept[0]


def test_versions_that_are_too_large(project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those, the event is kept, and the labels are not."""
    monkeypatch.setattr(history, "LARGEST_VERSION", 20)
    unit = save(project, bytes(range(256)), b"2", b"3")
    assert history.versions(project._database, unit, "main") == [2, 3]
    assert history.version(project._database, unit, "main", 1) is None


def test_a_reset_keeps_versions(project: LocalProject) -> None:
    """Labels that are forgotten become a version; what is saved afterwards is the next one."""
    unit = save(project, b"1", b"2")
    project.reset()
    assert history.versions(project._database, unit, "main") == [1, 2]
    save(project, b"3")
    assert history.versions(project._database, unit, "main") == [1, 2, 3]
    assert [history.version(project._database, unit, "main", n) for n in (1, 2, 3)] == [b"1", b"2", b"3"]
    assert events(project, unit)[1][0] == "reset"


def test_events_are_bounded(project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest events go first."""
    monkeypatch.setattr(history, "MOST_EVENTS", 3)
    unit = save(project, *(b"%d" % n for n in range(6)))
    assert [version for _, _, version in events(project, unit)] == [6, 5, 4]


def test_classes_follow_the_labels(project: LocalProject) -> None:
    """The classes that tasks are found by are those of the latest save, counted once for each object."""
    from encord_agents.local.contents import classes

    def found(hash: str, confidence: float) -> dict[str, Any]:
        return {"featureHash": "f", "objectHash": hash, "confidence": confidence}

    video = {
        "data_units": {"u": {"labels": {"0": {"objects": [found("a", 0.2)]}, "1": {"objects": [found("a", 0.4)]}}}},
        "classification_answers": {"k": {"featureHash": "c", "classifications": []}},
    }
    assert classes(video) == {"f": (1, 0.2, 0.4), "c": (1, None, None)}
    image = {"data_units": {"u": {"labels": {"objects": [found("a", 0.2), found("b", 0.1)], "classifications": []}}}}
    assert classes(image) == {"f": (2, 0.1, 0.2)}
    sound = {"object_answers": {"a": {"featureHash": "f", "objectHash": "a", "range": [[0, 9]], "confidence": 1.0}}}
    assert classes(sound) == {"f": (1, 1.0, 1.0)}
    assert classes(orjson.loads(b"{}")) == {}
