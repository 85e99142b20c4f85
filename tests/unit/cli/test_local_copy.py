"""`encord-agents local pull` and `diff`: options passed on, progress, and the lines that sum up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.local.differing import Difference

if TYPE_CHECKING:
    from tests.conftest import World
    from tests.unit.cli.conftest import Command, Ran

WORKFLOW = Workflow([AgentStage("Agent", {"go": "Done"}), Stage("Done", "done")])
HASH = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def at_the_real_one(local_platform: LocalPlatform, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Commands where the environment leads to another platform, which stands for the real one."""
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    return command


# Pull


class Pulls:
    """Plays the copying: keeps the options, tells of progress at times of its own, and leaves tasks out."""

    def __init__(self, skipped: int = 0, progress: Callable[[Pulls], None] = lambda pulls: None) -> None:
        self.options: dict[str, Any] = {}
        self.clock = 0.0
        self._skipped = skipped
        self._progress = progress

    def __call__(self, platform: LocalPlatform, client: Any, project_hash: str, **options: Any) -> LocalProject:
        self.options = {"project_hash": project_hash, **options}
        self._progress(self)
        made = platform.create_project(title="Co\x1b[2Jpy", workflow=WORKFLOW)
        made.skipped = [f"file {number}: lo\nst" for number in range(self._skipped)]
        return made

    def at(self, now: float, done: int, what: str) -> None:
        """Tell of progress at a time."""
        self.clock = now
        self.options["progress"](done, what)

    def play(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the copying."""
        monkeypatch.setattr(LocalPlatform, "pull", lambda *given, **options: self(*given, **options))
        monkeypatch.setattr("encord_agents.cli.local_copy.time", SimpleNamespace(monotonic=lambda: self.clock))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (None, None, False, False)),
        (["--stage", "Pre label", "--max-tasks", "1"], ("Pre label", 1, False, False)),
        (["--with-labels"], (None, None, True, False)),
        (["--with-files"], (None, None, False, True)),
    ],
)
def test_options_of_pull(
    at_the_real_one: Command, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: tuple[object, ...]
) -> None:
    """Reach the copying as they are given; without options neither labels nor files are asked for."""
    pulls = Pulls()
    pulls.play(monkeypatch)
    assert at_the_real_one("local", "pull", HASH, *options).code == 0
    del pulls.options["progress"]
    names = ("project_hash", "stage", "max_tasks", "with_labels", "with_files")
    assert pulls.options == dict(zip(names, (HASH, *expected), strict=True))


def test_the_last_line_is_the_hash(at_the_real_one: Command, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Print the copy's hash alone on the last line of stdout, for a script, below its title and number of tasks."""
    Pulls().play(monkeypatch)
    comment, last = at_the_real_one("local", "pull", HASH).out.splitlines()
    platform = LocalPlatform(data)
    assert [project.project_hash for project in platform.projects()] == [last]
    platform.close()
    assert comment == r"# project 'Co\x1b[2Jpy' with 0 tasks"


@pytest.mark.parametrize(("skipped", "lines", "more"), [(0, 0, None), (20, 20, None), (21, 21, 1), (300, 21, 280)])
def test_tasks_that_were_left_out(
    at_the_real_one: Command, monkeypatch: pytest.MonkeyPatch, skipped: int, lines: int, more: int | None
) -> None:
    """Name the first twenty, each on one line of stderr, and count the others."""
    Pulls(skipped).play(monkeypatch)
    said = at_the_real_one("local", "pull", HASH).err.splitlines()
    assert len(said) == lines
    assert said[:1] == ["left out: file 0: lo st"][:skipped]
    assert (said[20:] == [f"left out: {more} more like these"]) == (more is not None)


def test_progress_of_pull(at_the_real_one: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell of the first stage at once, then every two seconds, and of the end whenever it comes."""

    def progress(pulls: Pulls) -> None:
        pulls.at(10.0, 0, "Pre\x1b[2J")
        pulls.at(11.9, 1, "Pre")
        pulls.at(12.0, 2, "Pre")
        pulls.at(13.9, 3, "Post")
        pulls.at(13.9, 4, "")

    Pulls(progress=progress).play(monkeypatch)
    ran = at_the_real_one("local", "pull", HASH)
    assert ran.err.splitlines() == [r"# 0 tasks, reading Pre\x1b[2J", "# 2 tasks, reading Pre", "# 4 tasks"]


def test_one_task_of_one_stage(at_the_real_one: Command, world: World) -> None:
    """Copy no more than was asked for, write nothing at the other platform, and count in English."""
    world.project.add_placeholders(3)
    ran = at_the_real_one("local", "pull", world.project.project_hash, "--stage", "Pre-label", "--max-tasks", "1")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1] == "# 1 task"
    assert ran.out.startswith("# project 'Local project' with 1 task\n")
    assert world.count("Pre-label") == 3
    assert world.requests("save", "actions", "priorities") == []


def test_an_unknown_stage_to_pull(at_the_real_one: Command, world: World) -> None:
    """Name the stages that there are, and exit with 2."""
    ran = at_the_real_one("local", "pull", world.project.project_hash, "--stage", "Nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "no stage 'Nowhere'; there are 'Pre-label', 'Triage', 'Review', 'Done'" in ran.err


@pytest.mark.parametrize("given", ["0", "-1"])
def test_no_task_at_all(at_the_real_one: Command, local_platform: LocalPlatform, data: Path, given: str) -> None:
    """Name the option, ask the platform nothing and make nothing."""
    ran = at_the_real_one("local", "pull", HASH, "--max-tasks", given)
    assert ran.code == 2
    assert "--max-tasks" in ran.words
    assert [*local_platform.journal] == []
    assert not data.exists()


def test_without_a_key(command: Command, data: Path) -> None:
    """Name the variables that a key is read from, before a directory is made for the copy."""
    ran = command("local", "pull", HASH)
    assert ran.code == 2
    assert "ENCORD_SSH_KEY" in ran.err
    assert not data.exists()


# Diff


@pytest.fixture
def diff(command: Command, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """The command, on a project with the differences that are given."""

    def shown(*found: Difference) -> Ran:
        monkeypatch.setattr(LocalProject, "differences", lambda _: [*found])
        return command("local", "diff", project.title)

    return shown


def changed(title: str = "a.png", **more: Any) -> Difference:
    """A task in Agent, with nothing changed but what is given."""
    nothing = {"origin": "Agent", "stage": "Agent", "added": 0, "removed": 0, "changed": 0}
    return Difference(data_title=title, data_hash=HASH, **{**nothing, **more})


@pytest.mark.parametrize(
    ("difference", "row"),
    [
        (changed(added=1), ["a.png", "+1", "Agent"]),
        (changed(added=1, removed=20, changed=3), ["a.png", "+1 -20 ~3", "Agent"]),
        (changed(stage="Done"), ["a.png", "", "Agent -> Done"]),
        (changed("a\nb", branch="second", changed=10), ["a b (second)", "~10", "Agent"]),
    ],
)
def test_a_row_of_the_difference(diff: Callable[..., Ran], difference: Difference, row: list[str]) -> None:
    """Show the labels that changed and no zeros, both stages of a move, and the branch if it is not the main one."""
    head, line, _ = diff(difference).out.splitlines()
    columns = [head.index(name) for name in ("data", "labels", "stage")]
    cells = [line[start:end].strip() for start, end in zip(columns, [*columns[1:], None], strict=True)]
    assert cells == row


def test_the_sum_of_differences(diff: Callable[..., Ran]) -> None:
    """Count tasks, moves and labels of all rows."""
    ran = diff(changed(added=1, stage="Done"), changed(added=2, removed=4), changed(changed=8))
    assert ran.out.splitlines()[-1] == "3 tasks: 1 move; labels: 3 new, 4 gone, 8 changed"


def test_no_difference(diff: Callable[..., Ran]) -> None:
    """Show the sum alone, without an empty table."""
    assert diff().out == "0 tasks: 0 moves; labels: 0 new, 0 gone, 0 changed\n"


def test_very_many_differences(diff: Callable[..., Ran]) -> None:
    """Show the first thousand, and count all."""
    lines = diff(*[changed(f"{number}.png", added=1) for number in range(1_001)]).out.splitlines()
    assert lines[-2].startswith("999.png ")
    assert lines[-1] == "1001 tasks: 0 moves; labels: 1001 new, 0 gone, 0 changed"
    assert len(lines) == 1_002


def test_an_unknown_project_to_compare(command: Command, project: LocalProject) -> None:
    """Name the projects that there are, and exit with 2."""
    ran = command("local", "diff", "nothing")
    assert (ran.code, ran.out) == (2, "")
    assert f"{project.project_hash} (Project)" in ran.err
