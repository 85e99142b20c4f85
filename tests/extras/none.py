"""Without an extra: the command line answers, and agents are decorated. Asking for more names the extra."""

from __future__ import annotations

import os
import subprocess
import sys

from encord.objects import LabelRowV2

from encord_agents.exceptions import MissingExtraError
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.dependencies import dep_single_frame

TOOL = [sys.executable, "-m", "encord_agents.cli.main"]


def agent(row: LabelRowV2) -> str:
    return row.data_title


if __name__ == "__main__":
    Runner().stage("Pre-label")(agent)
    QueueRunner("3f2504e0-4f89-11d3-9a0c-0305e82c3301").stage("Pre-label")(agent)
    for arguments in (["--help"], ["--version"], ["print", "system-info"]):
        subprocess.run([*TOOL, *arguments], check=True, stdout=subprocess.DEVNULL)
    code = "from tests.extras.none import *; r = Runner(); r.stage('A')(agent); r.run()"
    environment = os.environ | {"ENCORD_SSH_KEY": "", "ENCORD_SSH_KEY_FILE": ""}
    subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL, env=environment)
    wanted = subprocess.run([*TOOL, "local", "status"], check=False, capture_output=True, text=True)
    assert (wanted.returncode, "encord-agents[local]" in wanted.stderr) == (2, True), wanted.stderr
    from typing import Annotated, Any

    from encord_agents.tasks import Depends

    def sees(frame: Annotated[Any, Depends(dep_single_frame)]) -> str:
        return "done"

    refused = ""
    try:
        Runner().stage("Pre-label")(sees)
    except MissingExtraError as error:
        refused = str(error)
    assert "encord-agents[vision]" in refused
