"""Small programs for 0.2.10, and how one is run with either library, on a project of its own.

``python -m tests.compat.programs PYTHON`` runs them with another interpreter's library, and records the results;
names of programs after it run these only.
A program finds the project's hash in ``PROJECT``, and adds to ``out`` what it wants to be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import preloaded
from tests.compat import projects
from tests.compat.further import FURTHER
from tests.compat.public import PUBLIC

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform, LocalProject

RESULTS = Path(__file__).parent / "results.json"

BOX = """
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
def draw(row, x=0.25):
    instance = row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=x, top_left_y=0.4), 0)
    row.add_object_instance(instance)
"""
RUNNER = "from encord_agents.tasks import Runner\nrunner = Runner(project_hash=PROJECT)\n"
QUEUE = "from encord_agents.tasks import QueueRunner\nrunner = QueueRunner(project_hash=PROJECT)\n"

PROGRAMS: dict[str, str] = {
    "a pathway by name": RUNNER
    + """
@runner.stage("Pre-label")
def agent(): return "triage"
runner()
""",
    "a pathway by uuid": RUNNER
    + """
stage = next(s for s in runner.project.workflow.stages if s.title == "Pre-label")
@runner.stage(stage=stage.uuid)
def agent(): return stage.pathways[1].uuid
runner()
""",
    "None holds a task": RUNNER
    + """
@runner.stage("Pre-label")
def agent(): return None
runner()
""",
    "labels saved by hand": RUNNER
    + BOX
    + """
@runner.stage("Pre-label")
def agent(label_row: LabelRowV2):
    draw(label_row)
    label_row.save()
    return "review"
runner()
""",
    "labels and priority returned": RUNNER
    + BOX
    + """
from encord_agents.tasks.models import TaskAgentReturnStruct
@runner.stage("Pre-label", will_set_priority=True)
def agent(label_row: LabelRowV2):
    draw(label_row, 0.5)
    return TaskAgentReturnStruct(pathway="review", label_row=label_row, label_row_priority=0.75)
runner()
""",
    "a priority alone": RUNNER
    + """
from encord_agents.tasks.models import TaskAgentReturnStruct
@runner.stage("Pre-label")
def agent(): return TaskAgentReturnStruct(pathway="review", label_row_priority=0.75)
runner(num_retries=0)
""",
    "one task per stage": RUNNER
    + """
@runner.stage("Pre-label")
def agent(): return "complete"
runner(max_tasks_per_stage=1)
""",
    "one bad task": RUNNER
    + """
@runner.stage("Pre-label")
def agent(label_row: __import__("encord").objects.LabelRowV2):
    if label_row.data_title.startswith("a"): raise ValueError("bad file")
    return "complete"
try: runner(num_retries=0)
except ValueError: out.append("raised")
""",
    "attempts": RUNNER
    + """
calls = []
@runner.stage("Pre-label")
def agent():
    calls.append(1)
    raise ValueError("always")
runner(num_retries=2, max_tasks_per_stage=1)
out.append(len(calls))
""",
    "dependencies": RUNNER
    + """
from typing import Annotated
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_client, dep_storage_item, dep_asset
def title(item=Depends(dep_storage_item)): return item.name
def opened():
    out.append("open")
    yield 7
    out.append("close")
@runner.stage("Pre-label")
def agent(name: Annotated[str, Depends(title)], seven: Annotated[int, Depends(opened)], path=Depends(dep_asset)):
    out.append([name, seven, path.is_file()])
    return "complete"
runner()
out.sort(key=str)
""",
    "a stage that is not there": RUNNER
    + """
from encord_agents.exceptions import PrintableError
try:
    @runner.stage("Nowhere")
    def agent(): return "complete"
except PrintableError: out.append("PrintableError")
""",
    "a stage with two agents": RUNNER
    + """
from encord_agents.exceptions import PrintableError
@runner.stage("Pre-label")
def agent(): return "complete"
try:
    @runner.stage("Pre-label")
    def other(): return "complete"
except PrintableError: out.append("PrintableError")
@runner.stage("Pre-label", overwrite=True)
def third(): return "review"
runner()
""",
    "the project with the call": """
from encord_agents.tasks import Runner
runner = Runner()
@runner.stage("Pre-label")
def agent(): return "complete"
runner(project_hash=PROJECT)
""",
    "a callback before the run": """
from encord_agents.tasks import Runner
runner = Runner(project_hash=PROJECT, pre_execution_callback=lambda runner: out.append("callback"))
@runner.stage("Pre-label")
def agent(): return "complete"
runner()
""",
    "a queue function": QUEUE
    + """
from encord_agents.tasks.models import TaskCompletionResult
@runner.stage("Pre-label")
def agent(): return "triage"
for stage in runner.get_agent_stages():
    if stage.title != "Pre-label": continue
    for task in stage.get_tasks():
        result = TaskCompletionResult.model_validate_json(agent(task.model_dump_json()))
        out.append([result.success, result.error])
""",
    "a queue function that fails": QUEUE
    + """
from encord_agents.tasks.models import TaskCompletionResult
@runner.stage("Pre-label")
def agent(): raise ValueError("bad file")
for stage in runner.get_agent_stages():
    for task in stage.get_tasks():
        result = TaskCompletionResult.model_validate_json(agent(task.model_dump_json()))
        out.append([result.success, "bad file" in result.error])
""",
    "a subclass that checks the project": """
from encord_agents.tasks import Runner
class Mine(Runner):
    @staticmethod
    def _validate_project(project):
        out.append(project is None)
runner = Mine(project_hash=PROJECT)
@runner.stage("Pre-label")
def agent(): return "complete"
runner()
""",
    "two keys in the environment": """
import os, tempfile, warnings
from pathlib import Path
from encord_agents.core.settings import Settings
with tempfile.TemporaryDirectory() as where, warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    path = Path(where, "key")
    path.write_text(os.environ["ENCORD_SSH_KEY"])
    os.environ["ENCORD_SSH_KEY_FILE"] = str(path)
    try: Settings()
    finally: del os.environ["ENCORD_SSH_KEY_FILE"]
out.append(sorted({w.category.__name__ for w in caught if "encord" in str(w.message).lower()}))
""",
    "an image group without a frame": """
from encord_agents.core.utils import DOWNLOAD_NATIVE_IMAGE_GROUP_WO_FRAME_ERROR_MESSAGE as message
out.append(isinstance(message, str))
""",
    "what the runner returns": RUNNER
    + """
@runner.stage("Pre-label")
def agent(): return "complete"
out.append(type(runner()).__name__)
""",
    "what follows a yield": RUNNER
    + """
from encord_agents.tasks import Depends
def opened():
    yield 7
    out.append("after the yield")
@runner.stage("Pre-label")
def agent(seven: int = Depends(opened)): raise ValueError("bad file")
runner(num_retries=0, max_tasks_per_stage=1)
""",
    "a signed notification": """
import hashlib, hmac, json, time
from encord_agents.core.webhooks import WebhookVerificationError, verify_and_parse_notification
body = json.dumps({"uid": PROJECT, "version": 1, "source": "encord", "event_type": "agent_stage_work_available_event",
    "event_created_timestamp": "2026-11-26T22:09:00Z", "payload": {"project_hash": PROJECT, "stage_uuid": PROJECT,
    "pending_count": 3, "reason": "max_wait_elapsed"}}).encode()
for seconds in (0, 1000):
    stamp = str(int(time.time()) - seconds)
    headers = {"x-encord-signature": hmac.new(b"k", stamp.encode() + b"." + body, hashlib.sha256).hexdigest(),
        "x-encord-timestamp": stamp}
    try: out.append(verify_and_parse_notification(body, headers, secret="k").pending_count)
    except WebhookVerificationError: out.append("refused")
""",
}

SHAPED = {**PUBLIC, **FURTHER}
"""Programs with a project of some shape."""
ALL = (*PROGRAMS, *SHAPED)

STARTER = """
import json, sys, os, traceback
given = json.loads(sys.stdin.read())
os.environ.update(given["environment"])
out = []
try:
    exec(compile(given["program"], "program", "exec"), {"out": out, "PROJECT": given["project"], "__name__": "program"})
    ended = "ended"
except BaseException as error:
    traceback.print_exc()
    ended = type(error).__name__
print("\\n" + json.dumps({"ended": ended, "out": out}))
"""


def made(platform: LocalPlatform) -> LocalProject:
    """A project with two images in its first stage."""
    from encord_agents.local import AgentStage, Stage, Workflow

    workflow = Workflow(
        [
            AgentStage("Pre-label", {"review": "Review", "triage": "Triage", "complete": "Done"}),
            AgentStage("Triage", {"ok": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = platform.create_project(workflow=workflow)
    project.add_image("a.png")
    project.add_image("b.png")
    return project


def found(project: LocalProject) -> dict[str, Any]:
    """What became of each task: its stage, its priority, and the left edges of the boxes on it."""
    tasks: dict[str, Any] = {}
    for task in project.tasks():
        label = project.label(task.data_hash)
        units = [] if label is None else label["data_units"].values()
        boxes = [o["boundingBox"]["x"] for unit in units for o in unit["labels"].get("objects", [])]
        tasks[task.data_title] = {"stage": task.stage_title, "priority": task.priority, "boxes": boxes}
    return dict(sorted(tasks.items()))


def result(platform: LocalPlatform, name: str, python: str = sys.executable) -> dict[str, Any]:
    """Run a program in a process, with that interpreter's library, and return what became of it."""
    shape, program = SHAPED[name] if name in SHAPED else ("", PROGRAMS[name])
    project = projects.made(platform, shape) if shape else made(platform)
    given = {"environment": platform.environment(), "program": program, "project": project.project_hash}
    environment = dict(os.environ)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    run: Any = subprocess.run if python != sys.executable else preloaded.run
    process = run(
        [python, "-W", "ignore", "-c", STARTER],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).anchor,
        timeout=120,
        check=True,
    )
    told = json.loads(process.stdout.splitlines()[-1])
    if not shape:
        return {**told, "tasks": found(project)}
    where = {task.data_title: [task.stage_title, task.priority] for task in project.tasks()}
    return {**told, "tasks": dict(sorted(where.items())), "labels": projects.labels(platform, project)}


if __name__ == "__main__":
    from encord_agents.local import LocalPlatform as Platform

    wanted = sys.argv[2:] or ALL
    recorded = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    with Platform() as shared:
        recorded |= {name: result(shared, name, sys.argv[1]) for name in wanted}
    recorded = {name: recorded[name] for name in ALL}
    RESULTS.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
