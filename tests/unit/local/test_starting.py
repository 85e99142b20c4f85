"""The files of `local init`: they are understood, and never replace anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from encord_agents.local import LocalPlatformError, Workflow, ontologies, starting


def test_they_are_understood(tmp_path: Path) -> None:
    """By those who read them; and the agent serves a stage of the workflow."""
    paths = starting.write(tmp_path / "new")
    assert [path.name for path in paths] == ["agents.py", "workflow.yaml", "ontology.yaml"]
    workflow = Workflow.from_file(paths[1])
    assert [stage.type for stage in workflow.stages] == ["agent", "annotation", "review", "done"]
    assert f'@runner.stage("{workflow.stages[0].title}")' in paths[0].read_text()
    compile(paths[0].read_text(), "agents.py", "exec")
    assert ontologies.editor(paths[2])["objects"][0]["name"] == "Person"


def test_nothing_is_replaced(tmp_path: Path) -> None:
    """If one is there, none is written; neither where there is no room for them."""
    (tmp_path / "workflow.yaml").write_text("mine")
    with pytest.raises(LocalPlatformError, match="is there already"):
        starting.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["workflow.yaml"]
    with pytest.raises(LocalPlatformError, match="cannot be written to"):
        starting.write(tmp_path / "workflow.yaml" / "below")
