"""Agents on Modal (https://modal.com): batches with ``map``, answers parsed, what failed tried again.

Once:

    pip install modal && modal setup
    modal secret create encord ENCORD_SSH_KEY="$(cat ~/.ssh/encord)"

Then, as often as there is something to do, from a checkout of this repository:

    export ENCORD_SSH_KEY_FILE=~/.ssh/encord
    modal run examples/modal_agents.py --max-tasks 100

This machine lists the tasks and hands them out; Modal's containers fetch, run and write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import modal
from encord.objects import LabelRowV2

from encord_agents.core.data_model import ImageArray
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskCompletionResult, TaskResult

PROJECT_HASH = "00000000-0000-0000-0000-000000000000"
BATCH_SIZE = 20
ATTEMPTS = 4

# A version that is on a package registry needs one line instead: .pip_install("encord-agents[vision]")
WHAT_PIP_NEEDS = modal.FilePatternMatcher("pyproject.toml", "README.md", "LICENSE", "src/**/*.py", "src/**/py.typed")
image = (
    modal.Image.debian_slim(python_version="3.12")
    .add_local_dir(Path(__file__).parent.parent, "/encord-agents", copy=True, ignore=~WHAT_PIP_NEEDS)
    .run_commands("python -m pip install '/encord-agents[vision]'")
)
app = modal.App("encord-agents", image=image, secrets=[modal.Secret.from_name("encord")])
runner = QueueRunner(project_hash=PROJECT_HASH)


class Model:
    """Stands for what is slow to load."""

    def is_dark(self, image: ImageArray) -> bool:
        return bool(image.mean() < 64)


def load_model() -> Model:
    return Model()


@runner.stage("Pre-label")
def pre_label(
    label_row: LabelRowV2,
    image: Annotated[ImageArray, Depends(dep_single_frame)],
    model: Annotated[Model, Depends(load_model, scope="run")],
) -> TaskAgentReturnStruct:
    """Sends dark pictures to the front of the queue for review."""
    return TaskAgentReturnStruct("review", label_row, label_row_priority=0.9 if model.is_dark(image) else 0.1)


@app.cls(cpu=1, timeout=600, max_containers=20)
class PreLabel:
    """A container. It connects and loads the model with its first batch, and keeps both."""

    @modal.method()
    def run(self, specs: list[str], final: bool) -> str:
        return pre_label(specs, final=final)

    @modal.exit()
    def close(self) -> None:
        runner.close()


def batches(specs: Sequence[str]) -> list[list[str]]:
    return [list(specs[start : start + BATCH_SIZE]) for start in range(0, len(specs), BATCH_SIZE)]


def work(specs: Sequence[str], send: Callable[[list[list[str]], bool], Iterable[str | Exception]]) -> list[TaskResult]:
    """Have tasks worked on, in as many rounds as it takes.

    Args:
        specs: The tasks, as JSON texts.
        send: Has batches worked on; each one's answer in order, or the exception of a container that was lost. The
            second argument says whether it is the last time.

    Returns:
        What became of each task, in no order. Those whose container was lost in the last round have no result: they
        are in their stage, unless they were done.
    """
    results: list[TaskResult] = []
    for number in range(1, ATTEMPTS + 1):
        final = number == ATTEMPTS
        again: list[str] = []
        sent = batches(specs)
        for batch, answer in zip(sent, send(sent, final), strict=True):
            if isinstance(answer, Exception):
                print(f"A batch of {len(batch)} was lost: {answer}")
                again += batch
                continue
            for spec, result in zip(batch, TaskCompletionResult.model_validate_json(answer).results, strict=True):
                if result.retryable and not final:
                    again.append(spec)
                else:
                    results.append(result)
        if not again:
            break
        specs = again
    return results


@app.local_entrypoint()
def enqueue(max_tasks: int = 0) -> None:
    """Have what waits in "Pre-label" worked on; 0: all."""
    (stage,) = runner.get_agent_stages()
    specs = [task.model_dump_json() for task in islice(stage.get_tasks(), max_tasks or None)]

    def on_modal(batches: list[list[str]], final: bool) -> Iterable[str | Exception]:
        return PreLabel().run.map(batches, kwargs={"final": final}, return_exceptions=True)

    results = work(specs, on_modal)
    print(dict(Counter(result.outcome for result in results)))
    for result in results:
        if result.outcome == "failed":
            print(f"{result.data_title or result.task_uuid} failed in {result.phase}: {result.error}")
