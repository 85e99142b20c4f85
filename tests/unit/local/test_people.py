"""Actions of people in the workflow, without HTTP: where tasks go, and who has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow, people
from encord_agents.local.trouble import Refusal
from encord_agents.local.users import OWNER

WORKFLOW = Workflow(
    [Stage("Annotate"), Stage("Review", "review"), AgentStage("Agent", {"on": "Done"}), Stage("Done", "done")]
)


@pytest.fixture
def acting(platform: LocalPlatform) -> Callable[..., Any]:
    """Let somebody act on the first task, and return it afterwards."""
    project = platform.create_project(workflow=WORKFLOW)
    project.add_image("a.png")

    def act(action: str, stage: str, **more: Any) -> Any:
        record, (task,) = project._record, project.tasks()
        resolved = next(one for one in record.stages.values() if one.title == stage)
        getattr(people, action)(platform._service.database, record, resolved, [task.uuid], **more)
        with platform._service.database.read() as connection:
            row = connection.execute("SELECT * FROM tasks").fetchone()
        return record.stages[row["stage"]].title, row["status"], row["assignee"], row["actor"]

    return act


def test_the_way_of_a_task(acting: Callable[..., Any]) -> None:
    """Submitted, rejected, submitted again and approved: the status says what happened to it."""
    assert acting("submit", "Annotate") == ("Review", "NEW", None, OWNER)
    assert acting("reject", "Review") == ("Annotate", "REOPENED", None, OWNER)
    assert acting("assign", "Annotate", assignee=OWNER)[1:3] == ("ASSIGNED", OWNER)
    assert acting("release", "Annotate")[1:3] == ("RELEASED", None)
    assert acting("assign", "Annotate", assignee=OWNER)[2] == OWNER
    assert acting("submit", "Annotate", retain_assignee=True) == ("Review", "ASSIGNED", OWNER, OWNER)
    assert acting("approve", "Review")[0] == "Agent"


@pytest.mark.parametrize(
    ("action", "stage", "more", "status"),
    [
        ("submit", "Review", {}, 400),
        ("approve", "Annotate", {}, 400),
        ("reject", "Agent", {}, 400),
        ("submit", "Annotate", {"user": "ann@example.com"}, 403),
        ("assign", "Annotate", {"assignee": "ann@example.com"}, 403),
        ("submit", "Annotate", {"retain_assignee": True}, 400),
        ("assign", "Done", {"assignee": OWNER}, 400),
    ],
)
def test_what_nobody_can_do(acting: Callable[..., Any], action: str, stage: str, more: Any, status: int) -> None:
    """It is refused."""
    with pytest.raises(Refusal) as caught:
        acting(action, stage, **more)
    assert caught.value.status == status


def test_possible_actions() -> None:
    """Those that lead anywhere; agents' stages have none."""
    found = {stage.title: people.possible(stage) for stage in WORKFLOW.resolved}
    assert found == {"Annotate": ("submit",), "Review": ("approve", "reject"), "Agent": (), "Done": ()}
