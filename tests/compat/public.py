"""The shapes of the public programs for 0.2.10, written anew: what they import, ask for, draw and return.

Models are replaced by a line that gives what they would. Each has the kind of project that it is for.
"""

from __future__ import annotations

ASGI = """
import asyncio, json
def post(app, path, body, **headers):
    async def call():
        sent = []
        content = json.dumps(body).encode()
        async def receive(): return {"type": "http.request", "body": content, "more_body": False}
        async def send(message): sent.append(message)
        named = {"content-type": "application/json", "origin": "https://app.encord.com", **headers}
        listed = [(name.encode(), value.encode()) for name, value in named.items()]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
            "raw_path": path.encode(), "query_string": b"", "headers": listed, "root_path": "", "scheme": "http",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
        await app(scope, receive, send)
        parts = [message for message in sent if message["type"] == "http.response.body"]
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in parts) or "null")
    return asyncio.run(call())
"""
ON_SCREEN = """
from encord_agents.core.utils import get_user_client
screen = get_user_client().get_project(PROJECT).list_label_rows_v2()
def shown(number=0, frame=0, **more):
    return {"projectHash": PROJECT, "dataHash": str(screen[number].data_hash), "frame": frame, **more}
def objects_of(number=0):
    screen[number].initialise_labels()
    return [instance.object_hash for instance in screen[number].get_object_instances()]
"""
TASKS = """
from typing import Annotated, Iterable, Iterator
from pathlib import Path
from encord.objects import LabelRowV2, Object, Classification, Option
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask
import numpy as np
from numpy.typing import NDArray
from encord_agents.core.data_model import Frame
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import *
from encord_agents.tasks.dependencies import dep_asset, dep_single_frame, dep_video_iterator, dep_storage_item
from encord_agents.tasks.models import TaskAgentReturnStruct
runner = Runner(project_hash=PROJECT)
def radio(row, title, value, frames=0):
    item = row.ontology_structure.get_child_by_title(title, type_=Classification)
    instance = item.create_instance(**({"range_only": True} if row.data_type.value in ("audio", "plain_text") else {}))
    instance.set_answer(item.get_child_by_title(value, type_=Option))
    instance.set_for_frames(frames=frames, confidence=0.75)
    row.add_classification_instance(instance)
def text(row, title, value, frames=0):
    item = row.ontology_structure.get_child_by_title(title, type_=Classification)
    instance = item.create_instance()
    instance.set_answer(value)
    instance.set_for_frames(frames)
    row.add_classification_instance(instance)
def box(row, left, frame=0):
    instance = row.ontology_structure.get_child_by_title("Person", type_=Object).create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.25, width=0.125, top_left_x=left, top_left_y=0.25),
        frames=frame, confidence=0.5, manual_annotation=False)
    row.add_object_instance(instance)
"""

PUBLIC: dict[str, tuple[str, str]] = {
    # Notebooks
    "notebook: a route by what the labels say": (
        "labelled images",
        TASKS
        + """
@runner.stage("Agent")
def route(label_row: LabelRowV2) -> str:
    answers = label_row.get_classification_instances()
    captions = [one.get_answer() for one in answers if one.classification_name == "Caption"]
    return "Second" if "a.png" in captions[0] else "Review"
@runner.stage("Agent 2")
def second(label_row: LabelRowV2) -> str: return "Complete"
runner()
""",
    ),
    "notebook: transcripts of several speakers": (
        "audio",
        TASKS
        + """
from encord.objects.coordinates import AudioCoordinates
from encord.objects.frames import Range
@runner.stage("Agent")
def transcribe(label_row: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]) -> TaskAgentReturnStruct:
    out.append(asset.suffix)
    speaker = label_row.ontology_structure.get_child_by_title("Speaker", type_=Object)
    attribute = speaker.attributes[0]
    for start, end, said in ((0, 800, "Hello"), (900, 1900, "Hi")):
        instance = speaker.create_instance()
        instance.set_for_frames(AudioCoordinates(range=[Range(start, end)]), 0)
        instance.set_answer(said, attribute=attribute)
        label_row.add_object_instance(instance)
    label_row.save()
    return "Complete"
runner()
""",
    ),
    "notebook: the mood of a speaker": (
        "audio",
        TASKS
        + """
from encord.objects.frames import Range
@runner.stage("Agent")
def mood(lr: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]):
    item = lr.ontology_structure.get_child_by_title("Mood", type_=Classification)
    instance = item.create_instance(range_only=True)
    instance.set_answer(item.get_child_by_title("Sad", type_=Option))
    instance.set_for_frames(Range(0, 1999))
    lr.add_classification_instance(instance)
    lr.save()
    return "Review"
runner(task_batch_size=1)
""",
    ),
    "notebook: masks on a video": (
        "video",
        TASKS
        + """
from encord.objects.bitmask import BitmaskCoordinates
@runner.stage("Agent")
def masks(row: LabelRowV2, frames: Annotated[Iterator[Frame], Depends(dep_video_iterator)]) -> str:
    item = row.ontology_structure.get_child_by_title("Mask", type_=Object)
    for frame in frames:
        if frame.frame % 5: continue
        mask = np.zeros(frame.content.shape[:2], dtype=bool)
        mask[4:20, 8:16 + frame.frame] = True
        instance = item.create_instance()
        instance.set_for_frames(coordinates=BitmaskCoordinates(mask), frames=frame.frame, confidence=0.5)
        row.add_object_instance(instance)
    row.save()
    return "Complete"
runner()
""",
    ),
    "notebook: boxes on a video": (
        "video",
        TASKS
        + """
@runner.stage("Agent")
def boxes(label_row: LabelRowV2, frames: Annotated[Iterable[Frame], Depends(dep_video_iterator)]) -> str:
    person = label_row.ontology_structure.get_child_by_title("Person", type_=Object)
    outputs = [person.create_instance() for _ in range(2)]
    for frame in frames:
        for number, instance in enumerate(outputs):
            left = frame.frame / 100 + number / 2
            box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=left, top_left_y=0.1)
            instance.set_for_frames(box, frame.frame)
        out.append([frame.frame, list(frame.content.shape)])
    for instance in outputs: label_row.add_object_instance(instance)
    label_row.save()
    return "Review"
runner()
""",
    ),
    "notebook: other words for a caption": (
        "video",
        TASKS
        + """
@runner.stage("Agent")
def rephrase(lr: LabelRowV2, frame: Annotated[NDArray[np.uint8], Depends(dep_single_frame)]) -> str:
    out.append([str(frame.dtype), list(frame.shape)])
    text(lr, "Caption", "numbers", frames=list(range(lr.number_of_frames)))
    for number in (1, 2):
        text(lr, f"Rephrased {number}", f"numbers, said {number} times", frames=list(range(lr.number_of_frames)))
    lr.save()
    return "Review"
runner()
""",
    ),
    "notebook: priorities": (
        "images",
        TASKS
        + """
@runner.stage("Agent", will_set_priority=True)
def priority(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="Review", label_row_priority=1.0 if label_row.data_title == "b.png" else 0.25)
runner()
""",
    ),
    "notebook: a detector on images": (
        "images",
        TASKS
        + """
@runner.stage("Agent")
def detect(label_row: LabelRowV2, image: Annotated[NDArray[np.uint8], Depends(dep_single_frame)]) -> str:
    height, width = image.shape[:2]
    rows, columns = np.nonzero(image[..., 0] > 100)
    item = label_row.ontology_structure.get_child_by_title("Person", type_=Object)
    instance = item.create_instance()
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    box = BoundingBoxCoordinates(height=(bottom - top) / height, width=(right - left) / width,
        top_left_x=left / width, top_left_y=top / height)
    instance.set_for_frames(box, 0, confidence=0.5)
    label_row.add_object_instance(instance)
    label_row.save()
    return "Complete"
runner()
""",
    ),
    "notebook: a model that wants pictures": (
        "video",
        TASKS
        + """
from PIL import Image
@runner.stage("Agent")
def classify(label_row: LabelRowV2, frames: Annotated[Iterable[Frame], Depends(dep_video_iterator)]) -> str:
    sizes = {Image.fromarray(frame.content).size for frame in frames}
    out.append(sorted(sizes))
    radio(label_row, "Scene", "Forest", frames=list(range(3)))
    label_row.save()
    return "Complete"
runner()
""",
    ),
    "notebook: a summary in two stages": (
        "video",
        TASKS
        + """
@runner.stage("Agent")
def describe(label_row: LabelRowV2, storage_item: StorageItem) -> str:
    out.append(storage_item.name)
    text(label_row, "Caption", "a film of numbers", frames=[0, 1, 2])
    label_row.save()
    return "Second"
@runner.stage("Agent 2")
def summarise(label_row: LabelRowV2) -> str:
    (caption,) = label_row.get_classification_instances()
    text(label_row, "Rephrased 1", caption.get_answer().upper(), frames=list(range(label_row.number_of_frames)))
    label_row.save()
    return "Complete"
runner()
""",
    ),
    "notebook: the sentiment of sound": (
        "audio",
        TASKS
        + """
import wave
@runner.stage("Agent")
def sentiment(task: AgentTask, lr: LabelRowV2, path: Annotated[Path, Depends(dep_asset)]) -> str | None:
    with wave.open(str(path)) as sound: out.append([sound.getframerate(), sound.getnframes(), task.data_title])
    return None
runner()
""",
    ),
    "notebook: labels of a twin project": (
        "twins",
        TASKS
        + """
from encord_agents.core.utils import get_user_client
from encord_agents.tasks.dependencies import Twin, dep_twin_label_row
(other,) = [p["project"].project_hash for p in get_user_client().get_projects(title_eq=f"Twin of {PROJECT}")]
@runner.stage("Agent")
def copy(label_row: LabelRowV2,
        twin: Annotated[Twin | None, Depends(dep_twin_label_row(twin_project_hash=other))]) -> str | None:
    if twin is None: return None
    for instance in twin.label_row.get_object_instances():
        copied = label_row.ontology_structure.get_child_by_title(instance.object_name, type_=Object).create_instance()
        for annotation in instance.get_annotations():
            copied.set_for_frames(coordinates=annotation.coordinates, frames=annotation.frame)
        label_row.add_object_instance(copied)
    label_row.save()
    out.append(twin.task is None)
    return "Complete"
runner()
""",
    ),
    "notebook: a route by who annotated": (
        "people",
        TASKS
        + """
from encord_agents.core.data_model import LabelRowMetadataIncludeArgs
@runner.stage("Agent")
def route(lr: LabelRowV2) -> str:
    who = lr.last_actioned_by_user_email if hasattr(lr, "last_actioned_by_user_email") else None
    out.append(who)
    return "Complete" if who else "Review"
runner()
""",
    ),
    "notebook: a model as a judge": (
        "labelled images",
        TASKS
        + """
import json
from encord_agents.core.ontology import OntologyDataModel
@runner.stage("Agent")
def judge(label_row: LabelRowV2, image: Annotated[NDArray[np.uint8], Depends(dep_single_frame)]) -> str:
    item = label_row.ontology_structure.get_child_by_title("Mood", type_=Classification)
    model = OntologyDataModel([item])
    schema = model.model_json_schema
    (key,) = schema["properties"]
    attribute = item.attributes[0]
    answer = {key: {"feature_node_hash": attribute.feature_node_hash, "choice": attribute.options[0].label}}
    for instance in model(json.dumps(answer)):
        instance.set_for_frames(0, confidence=0.5)
        label_row.add_classification_instance(instance)
    label_row.save()
    return "Complete"
runner()
""",
    ),
    # Containers
    "container: classification of images": (
        "images",
        TASKS
        + """
@runner.stage("Agent")
def classify(label_row: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]) -> TaskAgentReturnStruct:
    out.append([asset.suffix, asset.read_bytes()[:4].hex()])
    radio(label_row, "Scene", "Street" if label_row.data_title.startswith("a") else "Forest")
    return TaskAgentReturnStruct(pathway="Complete", label_row=label_row)
runner()
out.sort()
""",
    ),
    "container: captions by a language model": (
        "images",
        TASKS
        + """
@runner.stage("Agent")
def caption(label_row: LabelRowV2, image: Annotated[np.ndarray, Depends(dep_single_frame)]) -> TaskAgentReturnStruct:
    coded = Frame(frame=0, content=image).b64_encoding(image_format=".png", output_format="openai")
    out.append([coded["type"], coded["image_url"]["url"][:22]])
    text(label_row, "Caption", f"{image.shape[1]} pixels wide")
    return TaskAgentReturnStruct(pathway="Review", label_row=label_row, label_row_priority=0.5)
runner()
""",
    ),
    "container: classification of documents": (
        "text",
        TASKS
        + """
@runner.stage("Agent")
def classify(label_row: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]) -> str:
    said = asset.read_text()
    radio(label_row, "Language", "English" if "morning" in said else "German")
    radio(label_row, "Mood", "Happy" if "well" in said else "Sad")
    label_row.save()
    return "Complete"
runner()
""",
    ),
    "container: a route by the kind of file": (
        "image, video and text",
        TASKS
        + """
@runner.stage("Agent", will_set_priority=True)
def route(item: StorageItem, task: AgentTask, asset: Annotated[Path, Depends(dep_asset)]) -> TaskAgentReturnStruct:
    out.append([item.name, item.item_type.value, asset.suffix])
    pathway = {"image": "Review", "video": "Second"}.get(item.item_type.value, "Complete")
    return TaskAgentReturnStruct(pathway=pathway, label_row_priority=0.75)
runner(max_tasks_per_stage=10)
out.sort()
""",
    ),
    "container: a detector with OpenCV and a check of the ontology": (
        "video",
        TASKS
        + """
import cv2
class Detector(Runner):
    def _validate_project(self, project):
        Runner._validate_project(project)
        if project is None: return
        self.by_title = {item.title: item for item in project.ontology_structure.objects}
runner = Detector(project_hash=PROJECT)
@runner.stage("Agent")
def detect(lr: LabelRowV2, asset: Annotated[Path, Depends(dep_asset)]) -> TaskAgentReturnStruct:
    capture, number = cv2.VideoCapture(str(asset)), 0
    while (read := capture.read())[0]:
        gray = cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)
        if number % 6 == 0:
            instance = runner.by_title["Person"].create_instance()
            box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=number / 20, top_left_y=0)
            instance.set_for_frames(box, number)
            lr.add_object_instance(instance)
        number += 1
    capture.release()
    out.append([number, list(gray.shape)])
    return TaskAgentReturnStruct(pathway="Complete", label_row=lr)
runner()
""",
    ),
    # Examples
    "example: priorities by title": (
        "images",
        TASKS
        + """
@runner.stage(stage=next(s for s in runner.project.workflow.stages if s.title == "Agent").uuid, will_set_priority=True)
def by_title(task: AgentTask) -> TaskAgentReturnStruct:
    priority = 0.9 if "a" in task.data_title.split(".")[0] else 0.1
    return TaskAgentReturnStruct(pathway="Review", label_row_priority=priority)
if __name__ == "program": runner(num_retries=1)
""",
    ),
    "example: a queue of jobs": (
        "images",
        """
from concurrent.futures import ThreadPoolExecutor
from encord.objects import LabelRowV2
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult
runner = QueueRunner(project_hash=PROJECT)
@runner.stage("Agent")
def first(lr: LabelRowV2) -> str: return "Second"
@runner.stage("Agent 2")
def second(lr: LabelRowV2) -> str: return "Complete"
for stage, job in zip(runner.get_agent_stages(), (first, second)):
    with ThreadPoolExecutor(1) as pool:
        for answer in pool.map(job, [task.model_dump_json() for task in stage.get_tasks()]):
            result = TaskCompletionResult.model_validate_json(answer)
            out.append([result.stage_uuid == stage.uuid, result.success, result.error])
""",
    ),
    "example: a queue function on its way to another machine": (
        "images",
        """
import json
from encord.objects import LabelRowV2
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult
runner = QueueRunner(project_hash=PROJECT)
@runner.stage("Agent")
def agent(lr: LabelRowV2) -> str | None: return "Review" if lr.data_title == "a.png" else None
specs = [task.model_dump_json() for stage in runner.get_agent_stages() for task in stage.get_tasks()]
for answer in map(agent, specs):
    told = json.loads(answer)
    out.append(sorted(set(told) & {"task_uuid", "stage_uuid", "success", "pathway", "error"}))
    out.append(TaskCompletionResult.model_validate_json(answer).success)
out.sort(key=str)
""",
    ),
    "example: tasks in chunks": (
        "images",
        """
from itertools import islice
from encord_agents.tasks import QueueRunner
runner = QueueRunner(project_hash=PROJECT)
@runner.stage("Agent")
def agent() -> str: return "Complete"
(stage,) = runner.get_agent_stages()
specs = iter([task.model_dump_json() for task in stage.get_tasks()])
while chunk := list(islice(specs, 1)):
    out.extend("true" in agent(spec) for spec in chunk)
""",
    ),
    # Editor agents
    "editor on FastAPI: a box on the frame": (
        "images",
        ASGI
        + ON_SCREEN
        + """
from typing import Annotated
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from fastapi import Depends
from encord_agents.core.data_model import EditorAgentResponse, FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row
app = get_encord_app()
@app.post("/add")
def add(frame_data: FrameData, label_row: Annotated[LabelRowV2, Depends(dep_label_row)]) -> EditorAgentResponse:
    instance = label_row.ontology_structure.get_child_by_title("Person", type_=Object).create_instance()
    box = BoundingBoxCoordinates(height=0.25, width=0.5, top_left_x=0.25, top_left_y=0.25)
    instance.set_for_frames(frames=frame_data.frame, coordinates=box)
    label_row.add_object_instance(instance)
    label_row.save()
    return EditorAgentResponse(message="Added a box")
status, answer = post(app, "/add", shown())
out.append([status, answer["message"]])
out.append(post(app, "/add", {"projectHash": "no"})[0])
""",
    ),
    "editor on FastAPI: a frame in the ontology's terms": (
        "images",
        ASGI
        + ON_SCREEN
        + """
import json
from typing import Annotated
import numpy as np
from encord.objects import Classification, LabelRowV2
from fastapi import Depends
from numpy.typing import NDArray
from encord_agents.core.data_model import Frame, FrameData
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row, dep_single_frame
item = get_user_client().get_project(PROJECT).ontology_structure.get_child_by_title("Tags", type_=Classification)
model = OntologyDataModel([item])
app = get_encord_app()
@app.post("/frame")
async def classify(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)],
        content: Annotated[NDArray[np.uint8], Depends(dep_single_frame)]):
    out.append(Frame(frame_data.frame, content=content).b64_encoding()[:22])
    attribute = item.attributes[0]
    answer = {"tags": {"feature_node_hash": attribute.feature_node_hash, "dark": True, "crowded": False}}
    for instance in model(json.dumps(answer)):
        instance.set_for_frames(frames=frame_data.frame, confidence=0.5, manual_annotation=False)
        lr.add_classification_instance(instance)
    lr.save()
out.append(post(app, "/frame", shown(1))[0])
""",
    ),
    "editor on FastAPI: the objects that are selected": (
        "labelled images",
        ASGI
        + ON_SCREEN
        + """
import json
from typing import Annotated
from encord.objects import LabelRowV2, Object
from fastapi import Depends
from encord_agents.core.data_model import FrameData, InstanceCrop
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row, dep_object_crops
person = get_user_client().get_project(PROJECT).ontology_structure.get_child_by_title("Person", type_=Object)
model = OntologyDataModel([person])
app = get_encord_app()
@app.post("/crops")
async def attributes(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)],
        crops: Annotated[list[InstanceCrop], Depends(dep_object_crops(filter_ontology_objects=[person]))]):
    for crop in crops:
        out.append([list(crop.content.shape), crop.instance.object_name, crop.frame])
        colour = person.attributes[0]
        crop.instance.set_answer(colour.options[1], attribute=colour)
    lr.save()
out.append(post(app, "/crops", shown(0, objectHashes=objects_of()[:1]))[0])
""",
    ),
    "editor on Google Cloud: a box on the frame": (
        "images",
        ON_SCREEN
        + """
import flask
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from encord_agents.core.data_model import FrameData
from encord_agents.gcp import editor_agent
@editor_agent()
def add(frame_data: FrameData, label_row: LabelRowV2) -> None:
    instance = label_row.ontology_structure.get_child_by_title("Person", type_=Object).create_instance()
    box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.5, top_left_y=0.25)
    instance.set_for_frames(frames=frame_data.frame, coordinates=box)
    label_row.add_object_instance(instance)
    label_row.save()
web = flask.Flask("web")
with web.test_request_context("/", method="POST", json=shown(), headers={"Origin": "https://app.encord.com"}):
    answer = web.make_response(add(flask.request))
    out.append([answer.status_code, answer.headers["Access-Control-Allow-Origin"]])
""",
    ),
    "editor on Google Cloud: a frame in the ontology's terms": (
        "video",
        ON_SCREEN
        + """
import flask, json
from typing import Annotated
import numpy as np
from encord.objects import Classification, LabelRowV2
from numpy.typing import NDArray
from encord_agents.core.dependencies import Depends
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.core.data_model import FrameData
from encord_agents.gcp import editor_agent
from encord_agents.gcp.dependencies import dep_single_frame
item = get_user_client().get_project(PROJECT).ontology_structure.get_child_by_title("Scene", type_=Classification)
model = OntologyDataModel([item])
@editor_agent()
def classify(frame_data: FrameData, lr: LabelRowV2, content: Annotated[NDArray[np.uint8], Depends(dep_single_frame)]):
    out.append([list(content.shape), frame_data.frame])
    attribute = item.attributes[0]
    answer = {"scene": {"feature_node_hash": attribute.feature_node_hash, "choice": attribute.options[1].label}}
    for instance in model(json.dumps(answer)):
        instance.set_for_frames(frames=frame_data.frame)
        lr.add_classification_instance(instance)
    lr.save()
web = flask.Flask("web")
with web.test_request_context("/", method="POST", json=shown(frame=7), headers={"Origin": "https://app.encord.com"}):
    out.append(web.make_response(classify(flask.request)).status_code)
""",
    ),
    "editor on Google Cloud: the objects that are selected": (
        "labelled images",
        ON_SCREEN
        + """
import flask
from typing import Annotated
from encord.objects import LabelRowV2
from encord_agents.core.data_model import FrameData, InstanceCrop
from encord_agents.core.dependencies import Depends
from encord_agents.gcp import editor_agent
from encord_agents.gcp.dependencies import dep_object_crops
@editor_agent()
def attributes(frame_data: FrameData, lr: LabelRowV2,
        crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())]) -> None:
    for crop in crops:
        out.append([list(crop.content.shape), crop.b64_encoding(output_format="raw")[:4]])
        crop.instance.set_answer(crop.instance.ontology_item.attributes[0].options[0])
    lr.save()
web = flask.Flask("web")
with web.test_request_context("/", method="POST", json=shown(1, objectHashes=objects_of(1)), headers={"Origin":
        "https://app.encord.com"}):
    out.append(web.make_response(attributes(flask.request)).status_code)
""",
    ),
    "editor on Google Cloud: an agent that refuses": (
        "images",
        ON_SCREEN
        + """
import flask
from encord_agents.core.data_model import FrameData
from encord_agents.core.exceptions import EncordEditorAgentException
from encord_agents.gcp import editor_agent
@editor_agent()
def refuse(frame_data: FrameData) -> None:
    raise EncordEditorAgentException("Select an object first.")
web = flask.Flask("web")
with web.test_request_context("/", method="POST", json=shown(), headers={"Origin": "https://app.encord.com"}):
    answer = web.make_response(refuse(flask.request))
    out.append([answer.status_code, "Select an object first." in answer.get_data(as_text=True)])
""",
    ),
    "editor on Modal: a mask on the frame": (
        "images",
        ASGI
        + ON_SCREEN
        + """
from typing import Annotated
import numpy as np
from encord.objects import LabelRowV2, Object
from encord.objects.bitmask import BitmaskCoordinates
from fastapi import Depends, FastAPI
from encord_agents import FrameData
from encord_agents.fastapi.cors import EncordCORSMiddleware
from encord_agents.fastapi.dependencies import dep_label_row, dep_single_frame
def segment(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)],
        content: Annotated[np.ndarray, Depends(dep_single_frame)]) -> None:
    mask = content[..., 0] > 100
    instance = lr.ontology_structure.get_child_by_title("Mask", type_=Object).create_instance()
    instance.set_for_frames(BitmaskCoordinates(mask), frame_data.frame)
    lr.add_object_instance(instance)
    lr.save()
app = FastAPI()
app.add_middleware(EncordCORSMiddleware)
app.post("/segment")(segment)
out.append(post(app, "/segment", shown(1))[0])
""",
    ),
    "editor on Modal: a point followed through the video": (
        "video",
        ASGI
        + ON_SCREEN
        + """
from typing import Annotated, Iterator
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from fastapi import Depends, FastAPI
from encord_agents.core.data_model import Frame, FrameData
from encord_agents.fastapi.cors import EncordCORSMiddleware
from encord_agents.fastapi.dependencies import dep_label_row, dep_video_iterator
app = FastAPI()
app.add_middleware(EncordCORSMiddleware)
@app.post("/track")
def track(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)],
        video: Annotated[Iterator[Frame], Depends(dep_video_iterator)]):
    instance = lr.ontology_structure.get_child_by_title("Person", type_=Object).create_instance()
    for frame in video:
        if frame.frame < frame_data.frame: continue
        box = BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=frame.frame / 20, top_left_y=0.1)
        instance.set_for_frames(coordinates=box, frames=frame.frame)
    lr.add_object_instance(instance)
    lr.save()
out.append(post(app, "/track", shown(frame=3))[0])
""",
    ),
    "editor on FastAPI: the file of a video": (
        "video",
        ASGI
        + ON_SCREEN
        + """
from pathlib import Path
from typing import Annotated
from fastapi import Depends
from encord_agents.core.data_model import FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_asset
app = get_encord_app()
@app.post("/file")
def suffix(frame_data: FrameData, asset: Annotated[Path, Depends(dep_asset)]) -> None: out.append(asset.suffix)
out.append(post(app, "/file", shown(frame=3))[0])
""",
    ),
}
"""Name -> the project's shape, and the program."""
