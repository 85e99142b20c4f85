"""An agents file that both libraries run; what it does wrong is in its environment. Every call is noted in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from encord.objects import LabelRowV2

from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_asset
from encord_agents.tasks.models import TaskAgentReturnStruct

CASE = os.environ["RELIABILITY_CASE"]
BAD = os.environ["RELIABILITY_BAD"]

runner = Runner(project_hash=os.environ["RELIABILITY_PROJECT"])


def result(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    with open(os.environ["RELIABILITY_CALLS"], "a") as calls:
        calls.write(f"{label_row.data_hash}\n")
    if CASE in ("interrupt", "kill"):
        time.sleep(0.02)
    if CASE == "all-fail":
        raise LookupError("nothing works")
    pathway = "nowhere" if CASE == "pathway" and label_row.data_hash == BAD else "done"
    return TaskAgentReturnStruct(pathway=pathway, label_row=label_row)


def dependency(label_row: LabelRowV2) -> int:
    if CASE == "dependency" and label_row.data_hash == BAD:
        raise LookupError("this one does not work")
    return 1


if CASE == "asset":

    @runner.stage("Work")
    def with_asset(label_row: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]) -> TaskAgentReturnStruct:
        return result(label_row)

else:

    @runner.stage("Work")
    def without_asset(label_row: LabelRowV2, one: Annotated[int, Depends(dependency)]) -> TaskAgentReturnStruct:
        return result(label_row)


if __name__ == "__main__":
    runner.run()
