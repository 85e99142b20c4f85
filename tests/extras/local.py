"""With ``local`` alone: the command line makes a platform with a project, and a runner does its tasks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from encord.objects import LabelRowV2
from PIL import Image

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    (folder / "pictures").mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "pictures" / "a.png")
    workflow = folder / "workflow.yaml"
    workflow.write_text("stages:\n- {title: A, type: agent, pathways: {b: B}}\n- {title: B, type: done}\n")
    tool = [sys.executable, "-m", "encord_agents.cli.main", "local"]
    data = ["--data", str(folder / "data")]
    create = [*tool, "create", *data, "--images", str(folder / "pictures"), "--workflow", str(workflow)]
    assert "with 1 image" in subprocess.run(create, check=True, capture_output=True, text=True).stdout
    assert "1" in subprocess.run([*tool, "status", *data], check=True, capture_output=True, text=True).stdout
    with LocalPlatform() as platform:
        project = platform.create_project(
            workflow=Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")]), images=folder / "pictures"
        )
        runner = Runner(project.project_hash, user_client=platform.client())

        @runner.stage("A")
        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            return TaskAgentReturnStruct(pathway="b", label_row=row, label_row_priority=0.5)

        assert runner(progress="none").moved == 1
        assert project.stage("B").tasks == 1
