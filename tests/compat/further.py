"""Programs for 0.2.10 that its examples do not show: answers, refusals, tests of agents, subclasses, things by hand."""

from __future__ import annotations

from tests.compat.public import ASGI, ON_SCREEN, TASKS

__all__ = ["FURTHER"]

DRAW = """
from typing import Annotated
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.project import Project
from encord.storage import StorageItem
from encord_agents import FrameData
from encord_agents.core.data_model import (
    EditorAgentResponse, Frame, InstanceCrop, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs)
def draw(lr, left=0.25):
    instance = lr.ontology_structure.get_child_by_title("Person", type_=Object).create_instance()
    box = BoundingBoxCoordinates(height=0.25, width=0.25, top_left_x=left, top_left_y=0.25)
    instance.set_for_frames(box, 0)
    lr.add_object_instance(instance)
"""
LAMBDA = (
    ON_SCREEN
    + DRAW
    + """
import json
from encord_agents.aws import Depends, EncordEditorAgentException, editor_agent
def event(body, **headers): return {"headers": headers, "body": json.dumps(body)}
def told(answer): return [answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None]
"""
)
FLASK = (
    ON_SCREEN
    + DRAW
    + """
import flask, json
from encord_agents.gcp import Depends, EncordEditorAgentException, editor_agent
web = flask.Flask("web")
def ask(function, **options):
    given = {"method": "POST", "json": shown(), "headers": {"Origin": "https://app.encord.com"}, **options}
    with web.test_request_context("/", **given):
        answer = web.make_response(function(flask.request))
        said = answer.get_data(as_text=True)
        allowed = answer.headers.get("Access-Control-Allow-Methods")
        return [answer.status_code, json.loads(said) if said else None, allowed]
"""
)
FAST = (
    ASGI
    + ON_SCREEN
    + DRAW
    + """
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI
from fastapi.responses import JSONResponse
from encord_agents.fastapi import EncordEditorAgentException, get_encord_app, verify_auth
from encord_agents.fastapi.cors import EncordCORSMiddleware, EncordTestHeaderMiddleware
from encord_agents.fastapi.dependencies import (
    dep_asset, dep_client, dep_label_row, dep_label_row_with_args, dep_object_crops, dep_objects, dep_project,
    dep_single_frame, dep_storage_item)
"""
)
BARE = TASKS.replace("runner = Runner(project_hash=PROJECT)\n", "")
QUEUE = """
from encord.workflow.stages.agent import AgentTask
from encord.objects import LabelRowV2
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskCompletionResult
runner = QueueRunner(project_hash=PROJECT)
"""

FURTHER: dict[str, tuple[str, str]] = {
    "editor on AWS Lambda: a box and an answer": (
        "images",
        LAMBDA
        + """
@editor_agent()
def lambda_handler(frame_data: FrameData, label_row: LabelRowV2) -> EditorAgentResponse:
    draw(label_row)
    label_row.save()
    return EditorAgentResponse(message="Added", decision="go")
out.append(told(lambda_handler(event(shown()), None)))
""",
    ),
    "editor on AWS Lambda: an agent that returns nothing": (
        "images",
        LAMBDA
        + """
@editor_agent()
def lambda_handler(frame_data: FrameData) -> None: ...
out.append(told(lambda_handler(event(shown()), None)))
out.append(told(lambda_handler(event(shown(), **{"X-Encord-Editor-Agent": "test"}), None)))
""",
    ),
    "editor on AWS Lambda: refusals": (
        "images",
        LAMBDA
        + """
@editor_agent()
def lambda_handler(frame_data: FrameData) -> None:
    if frame_data.frame: raise ValueError("bug")
    raise EncordEditorAgentException("Select one")
out.append(told(lambda_handler(event(shown()), None)))
out += [told(lambda_handler(one, None))[0] for one in (event(shown(frame=3)), event({"frame": -1}), {"headers": {}})]
""",
    ),
    "editor on AWS Lambda: what the aliases give": (
        "labelled images",
        LAMBDA
        + """
from encord_agents.aws.dependencies import (
    DEncordClient, DObjectsInstances, DSingleFrame, DStorageItem, dep_object_crops)
@editor_agent()
def lambda_handler(frame_data: FrameData, client: DEncordClient, objects: DObjectsInstances, frame: DSingleFrame,
        item: DStorageItem, crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())]) -> None:
    out.append([client.get_project(PROJECT).project_hash == PROJECT, len(objects), list(frame.shape), item.name])
    out.append([list(crop.content.shape) for crop in crops])
lambda_handler(event(shown(0, objectHashes=objects_of()[:1])), None)
""",
    ),
    "editor on AWS Lambda: the agent itself, in a test": (
        "images",
        LAMBDA
        + """
@editor_agent()
def lambda_handler(frame_data: FrameData) -> str:
    "Says the frame."
    return f"frame {frame_data.frame}"
out.append(lambda_handler.__wrapped__(FrameData.model_validate(shown(frame=4))))
out.append([lambda_handler.__name__, lambda_handler.__doc__])
""",
    ),
    "editor on Google Cloud: an answer with fields of its own": (
        "images",
        FLASK
        + """
class Scored(EditorAgentResponse):
    score: float = 0.5
    tags: list[str] = []
@editor_agent()
def agent(frame_data: FrameData) -> Scored: return Scored(message="ok", score=0.75, tags=["a"])
out.append(ask(agent))
out.append(agent.__wrapped__(FrameData.model_validate(shown())).score)
""",
    ),
    "editor on Google Cloud: dependencies of dependencies": (
        "images",
        FLASK
        + """
events = []
def first_word(project: Project) -> str: return project.ontology_structure.objects[0].title
def opened(name: Annotated[str, Depends(first_word)]):
    events.append("open")
    yield name
    events.append("close")
class Judge:
    def __init__(self, name: str = Depends(first_word)): self.name = name
@editor_agent()
def agent(frame_data: FrameData, item: StorageItem, one: Annotated[str, Depends(opened)],
        two: Annotated[Judge, Depends()], three: str = Depends(first_word)) -> EditorAgentResponse:
    events.append("run")
    return EditorAgentResponse(message=f"{one} {two.name} {three} {item.name}")
out.append(ask(agent))
out.append(events)
""",
    ),
    "editor on Google Cloud: options of the label row": (
        "labelled images",
        FLASK
        + """
structure = get_user_client().get_project(PROJECT).ontology_structure
person = structure.get_child_by_title("Person", type_=Object)
some = LabelRowInitialiseLabelsArgs(
    include_object_feature_hashes={person.feature_node_hash}, include_classification_feature_hashes=set())
@editor_agent(label_row_metadata_include_args=LabelRowMetadataIncludeArgs(include_client_metadata=True),
    label_row_initialise_labels_args=some)
def agent(frame_data: FrameData, lr: LabelRowV2) -> None:
    out.append([lr.client_metadata, len(lr.get_object_instances()), len(lr.get_classification_instances())])
out.append(ask(agent)[0])
""",
    ),
    "editor on Google Cloud: preflights of a domain of one's own": (
        "images",
        FLASK
        + r"""
@editor_agent(custom_cors_regex=r"https://mine\.example\.com")
def agent(frame_data: FrameData) -> None: ...
for origin in ("https://mine.example.com", "https://app.encord.com"):
    out.append(ask(agent, method="OPTIONS", json=None, headers={"Origin": origin}))
""",
    ),
    "editor on FastAPI: handlers of one's own": (
        "images",
        FAST
        + """
app = get_encord_app()
class Mine(EncordEditorAgentException):
    def __init__(self, number): super().__init__(f"n={number}"); self.number = number
@app.exception_handler(Exception)
async def oops(request, error): return JSONResponse({"message": f"Sorry: {error}"}, 503)
@app.exception_handler(Mine)
async def mine(request, error): return JSONResponse({"n": error.number}, 418)
@app.post("/mine")
def one(frame_data: FrameData): raise Mine(3)
@app.post("/theirs")
def two(frame_data: FrameData): raise EncordEditorAgentException(message="b")
@app.post("/all")
def three(frame_data: FrameData): raise ValueError("x")
out += [post(app, "/mine", shown()), post(app, "/theirs", shown())]
try: post(app, "/all", shown())
except ValueError as error: out.append(str(error))
""",
    ),
    "editor on FastAPI: an agent that fails": (
        "images",
        FAST
        + """
app = get_encord_app()
@app.post("/agent")
def agent(frame_data: FrameData): raise KeyError("x")
try: out.append(post(app, "/agent", shown())[0])
except KeyError: out.append("raised")
""",
    ),
    "editor on FastAPI: a page of somebody else": (
        "images",
        FAST
        + """
app = get_encord_app()
@app.post("/agent")
def agent(frame_data: FrameData): ...
out.append(post(app, "/agent", shown(), origin="https://example.com")[0])
""",
    ),
    "editor on FastAPI: a router and work for later": (
        "images",
        FAST
        + """
app = get_encord_app()
router = APIRouter(prefix="/agents", dependencies=[Depends(dep_client)])
def title(lr: Annotated[LabelRowV2, Depends(dep_label_row)]) -> str: return lr.data_title
@router.post("/one")
async def one(frame_data: FrameData, name: Annotated[str, Depends(title)], jobs: BackgroundTasks) -> dict:
    jobs.add_task(out.append, "later")
    return {"name": name}
app.include_router(router)
out.append(post(app, "/agents/one", shown()))
@app.post("/fake")
def fake(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)]): return str(lr)
app.dependency_overrides[dep_label_row] = lambda: "a row"
out.append(post(app, "/fake", shown()))
""",
    ),
    "editor on FastAPI: all dependencies at once": (
        "labelled images",
        FAST
        + """
app = FastAPI()
app.add_middleware(EncordCORSMiddleware)
app.add_middleware(EncordTestHeaderMiddleware)
verify_auth()
row = dep_label_row_with_args(
    LabelRowMetadataIncludeArgs(include_client_metadata=True), LabelRowInitialiseLabelsArgs(include_signed_url=True))
@app.post("/agent")
def agent(frame_data: FrameData, project: Annotated[Project, Depends(dep_project)], lr=Depends(row),
        item: StorageItem = Depends(dep_storage_item), objects=Depends(dep_objects), crops=Depends(dep_object_crops()),
        frame=Depends(dep_single_frame)) -> EditorAgentResponse:
    out.append([project.project_hash == PROJECT, item.name, lr.client_metadata, lr.data_link is not None])
    return EditorAgentResponse(message=f" {len(objects)} {len(crops)} {frame.shape} ", decision=" ")
out.append(post(app, "/agent", shown(0, objectHashes=objects_of()[1:])))
out.append(post(app, "/agent", shown(0)))
out.append(post(app, "/agent", {}, **{"x-encord-editor-agent": "1"}))
""",
    ),
    "editor on FastAPI: dependencies that are called by hand": (
        "labelled images",
        FAST
        + """
from contextlib import contextmanager
frame_data = FrameData.model_validate(shown(0, objectHashes=objects_of()[:1]))
client, lr = dep_client(None), dep_label_row(frame_data)
item = dep_storage_item(lr, client)
out.append([lr.data_title, item.name, len(dep_objects(frame_data, lr)), list(dep_single_frame(item, frame_data).shape)])
out.append(dep_project(frame_data, client).project_hash == PROJECT)
with contextmanager(dep_asset)(item, frame_data) as path: out.append(path.read_bytes()[:4].hex())
""",
    ),
    "editor on FastAPI: a frame of the test's own": (
        "labelled images",
        FAST
        + """
import numpy as np
app = get_encord_app()
@app.post("/agent")
def agent(crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())]):
    out.append([int(crop.content.max()) for crop in crops])
app.dependency_overrides[dep_single_frame] = lambda: np.full((200, 300, 3), 7, np.uint8)
out.append(post(app, "/agent", shown(0, objectHashes=objects_of()[:1]))[0])
""",
    ),
    "editor on FastAPI: a notification whose body is read again": (
        "images",
        FAST
        + """
import hashlib, hmac, json, time, os
from fastapi import Request
from encord_agents.core.webhooks import TaskNotification
from encord_agents.fastapi import dep_task_notification
os.environ["ENCORD_WEBHOOK_SECRET"] = "k"
app = get_encord_app()
@app.post("/ready")
async def ready(request: Request, note: Annotated[TaskNotification, Depends(dep_task_notification)]):
    out.append([note.pending_count, len(await request.body()), (await request.json())["version"]])
body = {"uid": PROJECT, "version": 1, "source": "encord", "event_type": "agent_stage_work_available_event",
    "event_created_timestamp": "2026-11-26T22:09:00Z", "payload": {"project_hash": PROJECT, "stage_uuid": PROJECT,
    "pending_count": 3, "reason": "max_wait_elapsed"}}
stamp = str(int(time.time()))
signed = hmac.new(b"k", stamp.encode() + b"." + json.dumps(body).encode(), hashlib.sha256).hexdigest()
out.append(post(app, "/ready", body, **{"x-encord-signature": signed, "x-encord-timestamp": stamp})[0])
""",
    ),
    "editor on every door: crops and objects by hand": (
        "labelled images",
        FAST
        + """
import numpy as np
from encord_agents.aws import dependencies as aws
from encord_agents.core.dependencies import serverless
from encord_agents.fastapi import dependencies as fastapi
from encord_agents.gcp import dependencies as gcp
frame_data = FrameData.model_validate(shown(0, objectHashes=objects_of()[:1]))
lr, picture = dep_label_row(frame_data), np.full((200, 300, 3), 7, np.uint8)
for door in (aws, gcp, serverless, fastapi):
    (one,), (two,) = door.dep_objects(frame_data, lr), door.dep_objects(frame_data=frame_data, lr=lr)
    (crop,) = door.dep_object_crops()(frame_data, lr, picture)
    (same,) = door.dep_object_crops()(frame_data=frame_data, lr=lr, frame=picture)
    out.append([one is two is crop.instance, int(crop.content.max()), crop.content.shape == same.content.shape])
""",
    ),
    "imports of names that are at home elsewhere": (
        "images",
        """
from encord_agents.aws.wrappers import EncordEditorAgentException
from encord_agents.core.dependencies.serverless import DataLookup, Depends, FrameData, InstanceCrop, dep_single_frame
from encord_agents.fastapi.dependencies import LabelRowV2, dep_label_row
from encord_agents.gcp.wrappers import EditorAgentResponse, editor_agent
from encord_agents.tasks.dependencies import download_asset
from encord_agents.tasks.runner.queue_runner import TaskCompletionResult
from encord_agents.tasks.runner.sequential_runner import TaskAgentReturnStruct
out.append(LabelRowV2.__name__)
""",
    ),
    "runner: a subclass with a client of its own": (
        "images",
        BARE
        + """
from encord_agents.core.utils import get_user_client
class Mine(Runner):
    def __init__(self, **options):
        super().__init__(**options)
        self.client = get_user_client()
        self.pathway = "Complete"
runner = Mine(project_hash=PROJECT)
@runner.stage("Agent")
def agent(lr: LabelRowV2): return runner.pathway
runner()
""",
    ),
    "runner: a project that is set by hand": (
        "images",
        BARE
        + """
from encord_agents.core.utils import get_user_client
runner = Runner()
runner.project = get_user_client().get_project(PROJECT)
@runner.stage("Agent")
def agent(): return "Complete"
runner()
""",
    ),
    "runner: a callback that refuses the ontology": (
        "images",
        BARE
        + """
def check(runner):
    out.append([agent.printable_name for agent in runner.agents])
    assert runner.project.ontology_structure.objects[0].title == "Car", "Not this ontology"
runner = Runner(project_hash=PROJECT, pre_execution_callback=check)
@runner.stage("Agent")
def agent(): return "Complete"
try: runner()
except AssertionError as error: out.append(str(error))
""",
    ),
    "runner: one stage after the other, by hand": (
        "images",
        TASKS
        + """
@runner.stage("Agent")
def one(): return "Second"
@runner.stage("Agent 2")
def two(): return "Complete"
out.append(runner.run_stage("Agent", max_tasks=1) is None)
runner.run_stage(runner.valid_stages[1].uuid, project_hash=PROJECT)
""",
    ),
    "runner: priorities of nothing and of one": (
        "images",
        TASKS
        + """
@runner.stage("Agent", will_set_priority=True)
def agent(task: AgentTask): return TaskAgentReturnStruct("Complete", None, 0.0 if task.data_title == "a.png" else 1)
runner()
""",
    ),
    "runner: what an agent writes by itself": (
        "images",
        TASKS
        + """
@runner.stage("Agent")
def agent(lr: LabelRowV2, item: Annotated[StorageItem, Depends(dep_storage_item)]):
    lr.set_priority(0.875)
    item.update(client_metadata={"seen": True, **(item.client_metadata or {})})
    return "Review"
runner()
project = runner.client.get_project(PROJECT)
out.append([row.client_metadata for row in project.list_label_rows_v2(include_client_metadata=True)])
""",
    ),
    "runner: an object, a partial and the stage": (
        "images",
        TASKS
        + """
from functools import partial
from encord.project import Project
from encord.workflow.stages.agent import AgentStage
class Model:
    def __call__(self, lr: LabelRowV2, stage: AgentStage) -> str: return stage.pathways[2].name
def second(pathway, project: Project): return pathway if project.project_hash == PROJECT else None
runner.stage("Agent")(Model())
runner.stage("Agent 2")(partial(second, "Complete"))
runner()
""",
    ),
    "runner: a hash that is none": (
        "images",
        BARE
        + """
for hash in ("nonsense", "11111111-1111-1111-1111-111111111111"):
    try: Runner(project_hash=hash)
    except BaseException as error: out.append(type(error).__name__)
""",
    ),
    "runner: an empty hash, and no agent": (
        "images",
        BARE
        + """
runner = Runner("")
out.append([runner.project_hash, runner.project, runner.was_called_from_cli])
try: out.append([Runner(PROJECT)() is None])
except ValueError: out.append("ValueError")
""",
    ),
    "runner: the frames of some numbers": (
        "video",
        TASKS
        + """
from encord_agents.tasks.dependencies import dep_video_sampler
@runner.stage("Agent")
def agent(sample=Depends(dep_video_sampler)):
    out.extend([frame.frame for frame in sample(wanted)] for wanted in (1 / 4, [2, 7], [7, 2]))
    return "Complete"
runner()
""",
    ),
    "by hand: the file of a film, and its frames": (
        "video",
        """
import numpy as np
from encord_agents.core.utils import download_asset, get_frame_count, get_user_client
from encord_agents.core.video import get_frame, iter_video, iter_video_with_indices
from encord_agents.core.vision import b64_encode_image
client = get_user_client()
(row,) = client.get_project(PROJECT).list_label_rows_v2()
item = client.get_storage_item(row.backing_item_uuid)
with download_asset(item, 3) as path: out.append([get_frame_count(item), path.suffix, path.read_bytes()[1:4].decode()])
with download_asset(item) as path:
    bgr, frames = get_frame(path, 3), list(iter_video(path))
    difference = np.abs(bgr[..., ::-1].astype(int) - frames[3].content).max()
    some = [one.frame for one in iter_video_with_indices(path, [1, 5])]
    out.append([path.suffix, len(frames), bool(difference < 3), some])
    out.append(b64_encode_image(frames[0].content, ".png")[:6])
""",
    ),
    "by hand: a crop": (
        "images",
        """
import numpy as np
from encord.objects.coordinates import BoundingBoxCoordinates
from encord_agents.core.vision import crop_to_bbox
for left in (0.25, 0.2):
    box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=left, top_left_y=0.25)
    out.append(list(crop_to_bbox(np.zeros((64, 128, 3), np.uint8), box).shape))
""",
    ),
    "by hand: settings": (
        "images",
        """
import os
from encord_agents.core.settings import Settings
from encord_agents.core.utils import get_user_client
settings = Settings()
out.append([settings.ssh_key == os.environ["ENCORD_SSH_KEY"], settings.ssh_key_file])
client = get_user_client(settings)
out.append([client.get_project(PROJECT).project_hash == PROJECT])
del os.environ["ENCORD_SSH_KEY"]
try: Settings()
except ValueError as error: out.append(type(error).__name__)
""",
    ),
    "by hand: data models": (
        "images",
        """
import numpy as np
from encord_agents.core.data_model import EditorAgentResponse, Frame, FrameData, LabelRowMetadataIncludeArgs
frame = Frame(frame=1, content=np.full((4, 6, 3), 90, np.uint8))
out.append([frame.b64_encoding()[:23], frame.b64_encoding(".png", "raw")[:8]])
out.append(sorted(frame.b64_encoding(output_format="anthropic")["source"]))
data = FrameData(projectHash=PROJECT, dataHash=PROJECT, frame=2, objectHashes=["a"])
out.append([sorted(data.model_dump(mode="json", by_alias=True)), sorted(data.model_dump())])
out.append(EditorAgentResponse(message=" ", decision=" a ").model_dump_json())
def tried(make):
    try: return type(make()).__name__
    except Exception as error: return type(error).__name__
out.append(tried(lambda: FrameData(projectHash=PROJECT, dataHash=PROJECT, frame=-1)))
out.append(tried(lambda: EditorAgentResponse(decision="x" * 257)))
out.append(tried(lambda: LabelRowMetadataIncludeArgs(branch_name="a", include_all_label_branches=True)))
""",
    ),
    "by hand: an option that there is not": (
        "images",
        """
from encord_agents.core.data_model import LabelRowMetadataIncludeArgs
try: out.append(type(LabelRowMetadataIncludeArgs(include_everything=True)).__name__)
except ValueError as error: out.append(type(error).__name__)
""",
    ),
    "by hand: a lookup, and answers in the ontology's terms": (
        "images",
        TASKS
        + """
import json, warnings
warnings.simplefilter("ignore")
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.tasks.dependencies import DataLookup, dep_data_lookup
@runner.stage("Agent")
def agent(task: AgentTask, lookup: Annotated[DataLookup, Depends(dep_data_lookup)]):
    out.append([lookup.get_storage_item(task.data_hash).name, len(lookup.backing_item_uuids)])
    return "Complete"
runner()
out.sort()
structure = runner.project.ontology_structure
tags, caption = (structure.get_child_by_title(title, type_=Classification) for title in ("Tags", "Caption"))
model = OntologyDataModel([tags, caption])
answer = {"tags": {"feature_node_hash": tags.attributes[0].feature_node_hash, "dark": True, "crowded": True},
    "caption": {"feature_node_hash": caption.attributes[0].feature_node_hash, "value": "hello"}}
out.append([sorted(model.model_json_schema["properties"]), type(model.model_json_schema_str).__name__])
out.append(sorted(one.classification_name for one in model(json.dumps(answer))))
""",
    ),
    "by hand: the parts of a lookup": (
        "images",
        """
import warnings
warnings.simplefilter("ignore")
from encord_agents.core.dependencies.serverless import dep_data_lookup
from encord_agents.core.utils import get_user_client, get_user_client_from_settings
from encord_agents.tasks.dependencies import DataLookup
from encord_agents.utils.generic_utils import try_coerce_UUID
project = get_user_client().get_project(PROJECT)
lookup = DataLookup.sharable(project)
out.append([DataLookup.sharable(project) is lookup, dep_data_lookup(lookup) is lookup])
out.append([len(lookup.data_rows), len(lookup.datasets), type(lookup.backing_item_uuids).__name__])
row, (dataset,) = lookup.get_data_row(next(iter(lookup.data_rows))), lookup.datasets
out.append(lookup.user_client.get_storage_item(row.backing_item_uuid).name)
out.append(DataLookup().get_data_row(row.uid, dataset).uid == row.uid)
get_user_client_from_settings.cache_clear()
out.append(try_coerce_UUID(candidate_uuid=PROJECT) == try_coerce_UUID(PROJECT))
""",
    ),
    "by hand: a film that is none": (
        "images",
        """
from encord_agents.core.utils import get_user_client
from encord_agents.fastapi import dependencies as fastapi
from encord_agents.gcp import dependencies as gcp
from encord_agents.tasks import dependencies as tasks
client = get_user_client()
row = client.get_project(PROJECT).list_label_rows_v2()[0]
item = client.get_storage_item(row.backing_item_uuid)
for one in (tasks.dep_video_iterator, tasks.dep_video_sampler, gcp.dep_video_iterator, fastapi.dep_video_iterator):
    try: next(one(item))
    except NotImplementedError: out.append("NotImplementedError")
""",
    ),
    "twin: with its task, without its labels": (
        "twins",
        TASKS
        + """
from encord_agents.core.utils import get_user_client
from encord_agents.tasks.dependencies import Twin, dep_twin_label_row
(other,) = [p["project"].project_hash for p in get_user_client().get_projects(title_eq=f"Twin of {PROJECT}")]
twin_of = dep_twin_label_row(other, init_labels=False, include_task=True)
@runner.stage("Agent")
def agent(lr: LabelRowV2, twin: Annotated[Twin | None, Depends(twin_of)]):
    out.append([twin.task is not None and twin.task.data_title == lr.data_title])
    out.append(twin.label_row.is_labelling_initialised)
    return "Complete"
runner()
""",
    ),
    "queue: a list that goes well": (
        "images",
        QUEUE
        + """
@runner.stage("Agent", will_set_priority=True)
def agent(lr: LabelRowV2): return TaskAgentReturnStruct(pathway="Review", label_row=lr, label_row_priority=0.75)
(stage,) = runner.get_agent_stages()
result = TaskCompletionResult.model_validate_json(agent([task.model_dump_json() for task in stage.get_tasks()]))
out.append([len(result.success), len(result.pathway), result.error, result.stage_uuid == stage.uuid])
out.append([runner.project_hash == PROJECT, runner.project.project_hash == PROJECT, agent.__wrapped__.__name__])
try: runner()
except NotImplementedError: out.append("NotImplementedError")
""",
    ),
    "queue: lists of no task and of one": (
        "images",
        QUEUE
        + """
@runner.stage("Agent")
def agent(): return "Complete"
(stage,) = runner.get_agent_stages()
first, *_ = [task.model_dump_json() for task in stage.get_tasks()]
for specs in ([], [first], [first]):
    result = TaskCompletionResult.model_validate_json(agent(specs))
    out.append([type(result.task_uuid).__name__, result.success, type(result.pathway).__name__])
""",
    ),
    "queue: two functions for one stage": (
        "images",
        QUEUE
        + """
@runner.stage("Agent")
def on_cpu(): return "Complete"
@runner.stage("Agent")
def on_gpu(): return "Review"
stage, *_ = runner.get_agent_stages()
for function, task in zip((on_cpu, on_gpu), list(stage.get_tasks())):
    out.append(TaskCompletionResult.model_validate_json(function(json_strs=task.model_dump_json())).success)
out.append(len(list(runner.get_agent_stages())))
""",
    ),
    "queue: a list with one that fails": (
        "images",
        QUEUE
        + """
@runner.stage("Agent")
def agent(task: AgentTask):
    if task.data_title == "a.png": raise ValueError("bad")
    return "Complete"
(stage,) = runner.get_agent_stages()
result = TaskCompletionResult.model_validate_json(agent([task.model_dump_json() for task in stage.get_tasks()]))
out.append(["bad" in result.error, result.success if isinstance(result.success, bool) else len(result.success)])
""",
    ),
}
"""Name -> the project's shape, and the program."""
