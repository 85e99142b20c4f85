"""A trial of an agent: which task it is, and how the result is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.trying import Trial, _find

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (Trial("a.png", "Pre-label", "agent", would="would stay"), "would stay"),
        (Trial("a.png", "Pre-label", "agent", exception=ValueError("bad"), traceback="Traceback: bad\n"), "bad"),
        (Trial("a.png", "Pre-label", "agent"), "not run"),
    ],
)
def test_in_words(trial: Trial, said: str) -> None:
    """What a run would have written, or what the agent failed with."""
    assert str(trial).startswith("agent() on 'a.png' in 'Pre-label': ")
    for words in (str(trial), repr(trial)):
        assert said in words
    assert trial.picture is None


def test_titles_are_other_peoples_text() -> None:
    """In a page they are shown, not obeyed."""
    trial = Trial("<script>alert(1)</script>", "<b>", "agent", would="<i>", not_painted="<u>")
    shown = trial._repr_html_()
    assert "&lt;script&gt;" in shown
    assert not any(tag in shown for tag in ("<script>", "<i>", "<u>"))


def test_one_picture_of_several() -> None:
    """The first is the trial's."""
    assert Trial("a", "b", "c", frames={7: b"seven", 9: b"nine"}).picture == b"seven"


def test_which_task(world: World) -> None:
    """It is looked for in the stages in their order, by title, by its own uuid and by its data unit's."""
    runner = world.runner()
    for stage in ("Triage", "Pre-label"):
        runner.stage(stage)(lambda: None)
    (first,) = world.project.add_placeholders(1, title="first")
    (second,) = world.project.add_placeholders(1, title="second")
    world.project.move(world.task_of(second), "Triage")
    agents = runner._bind_all(runner._project_for(None))
    gate = Gate(Stop())

    def found(wanted: Any) -> tuple[str, str]:
        agent, task = _find(agents, gate, wanted)
        return agent.stage.title, task.data_title

    assert found(None) == ("Triage", "second")
    for wanted in ("first", world.task_of(first), first, UUID(first)):
        assert found(wanted) == ("Pre-label", "first")
    with pytest.raises(PrintableError, match=r"no task, data unit or title 'third' .*'Triage', 'Pre-label'"):
        found("third")
