"""`encord-agents local labels`: the export is asked for as the options say, and told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from encord_agents.local import LocalProject
from encord_agents.local.export import Exported

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

Exports = Callable[..., list[tuple[Path, bool]]]


@pytest.fixture
def exports(project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> Exports:
    """Plays the export with a result, on a clock that each written row sets ahead; lists where it writes, and if it
    draws."""

    def played(done: Exported, seconds: float = 0.0) -> list[tuple[Path, bool]]:
        calls = []
        clock = [0.0]

        def export_labels(_: LocalProject, out: Path, *, draw: bool, progress: Any) -> Exported:
            calls.append((out, draw))
            for row in range(done.rows):
                clock[0] += seconds
                progress(row + 1)
            return done

        monkeypatch.setattr(LocalProject, "export_labels", export_labels)
        monkeypatch.setattr("encord_agents.cli.local.time", SimpleNamespace(monotonic=lambda: clock[0]))
        return calls

    return played


@pytest.mark.parametrize(
    ("done", "options", "said"),
    [
        (Exported(1, 0), [], "1 label row in out\n"),
        (Exported(2, 0), [], "2 label rows in out\n"),
        (Exported(1, 1), ["--draw"], "1 label row, 1 drawing in out\n"),
        (Exported(2, 0), ["--draw"], "2 label rows, 0 drawings in out\n"),
    ],
)
def test_counts(command: Command, exports: Exports, done: Exported, options: list[str], said: str) -> None:
    """Read as English, and speak of drawings only where they were asked for."""
    calls = exports(done)
    ran = command("local", "labels", "Project", "--out", "out", *options)
    assert (ran.code, ran.out, ran.err) == (0, said, "")
    assert calls == [(Path("out"), "--draw" in options)]


def test_a_home_directory(command: Command, exports: Exports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Write into the home directory where the shell has left a ~ alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    calls = exports(Exported(1))
    command("local", "labels", "Project", "--out=~/labels")
    assert calls == [(tmp_path / "home" / "labels", False)]


def test_reasons_are_told_apart_from_the_result(command: Command, exports: Exports) -> None:
    """Name each row that was not drawn on a line of stderr, in its order, with control characters escaped."""
    exports(Exported(2, 0, ["a\x1b[2J: no\npicture", "b: no frame"]))
    ran = command("local", "labels", "Project", "--out", "out", "--draw")
    assert ran.out == "2 label rows, 0 drawings in out\n"
    assert ran.err.splitlines() == [r"not drawn: a\x1b[2J: no picture", "not drawn: b: no frame"]


def test_progress(command: Command, exports: Exports) -> None:
    """Count the label rows on stderr while a long export goes on."""
    exports(Exported(4), seconds=1.0)
    ran = command("local", "labels", "Project", "--out", "out")
    assert ran.err.splitlines() == ["# 2 label rows so far", "# 4 label rows so far"]


def test_without_labels(command: Command, project: LocalProject, tmp_path: Path) -> None:
    """Say on stderr that there are none, and leave an empty directory."""
    ran = command("local", "labels", project.project_hash, "--out", "new/out")
    assert (ran.code, ran.out) == (0, "0 label rows in new/out\n")
    assert ran.err == "No labels were saved yet.\n"
    assert [*(tmp_path / "new" / "out").iterdir()] == []


def test_without_a_directory(command: Command, exports: Exports) -> None:
    """Name the option that is missing, and export nothing."""
    calls = exports(Exported(1))
    ran = command("local", "labels", "Project")
    assert ran.code == 2
    assert "Missing option '--out'" in ran.words
    assert calls == []


def test_a_directory_that_is_a_file(command: Command, project: LocalProject, tmp_path: Path) -> None:
    """Name the file, and exit with 2."""
    (tmp_path / "out").write_text("mine")
    ran = command("local", "labels", "Project", "--out", "out")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: ")
    assert "out" in ran.err
    assert (tmp_path / "out").read_text() == "mine"


def test_an_unknown_project(command: Command, project: LocalProject, tmp_path: Path) -> None:
    """List the projects that there are, and make no directory."""
    ran = command("local", "labels", "nothing", "--out", "out")
    assert ran.code == 2
    assert f"{project.project_hash} (Project)" in ran.err
    assert not (tmp_path / "out").exists()
