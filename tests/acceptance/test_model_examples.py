"""The agents of examples/models work, against a service that answers and refuses as the providers document."""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import RadioAttribute, TextAttribute
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image
from tests.ontologies import answered
from tests.strict_schemas import broken_rules

from encord_agents.core.audio import Sound
from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"


class Service(ThreadingHTTPServer):
    """Hosted models: what they are to answer, and what they were asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Provider)
        self.says: Any = None
        self.seen: list[dict[str, Any]] = []
        self.problems: list[str] = []


class Provider(BaseHTTPRequestHandler):
    """Checks that a request has the documented shape, and answers in it."""

    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            answer = self.answer(body)
            status = 200
        except (AssertionError, KeyError, ValueError, OSError) as error:
            self.server.problems.append(f"{self.path}: {type(error).__name__}: {error}")
            answer, status = {"error": "invalid request"}, 400
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, body: bytes) -> Any:
        says = self.server.says
        if self.path == "/hf-inference/models/facebook/detr-resnet-50":
            assert self.headers["Authorization"] == "Bearer key"
            Image.open(io.BytesIO(body)).load()
            return says
        asked = json.loads(body)
        if self.path == "/v1/chat/completions":
            assert self.headers["Authorization"] == "Bearer key"
            (message,) = asked["messages"]
            for part in message["content"]:
                self.check_openai(part)
            self.check_schema(asked.get("response_format", {}).get("json_schema"))
            return {"choices": [{"message": {"role": "assistant", "content": said(says, message["content"])}}]}
        if self.path == "/v1/messages":
            assert self.headers["x-api-key"] == "key"
            assert self.headers["anthropic-version"]
            assert asked["max_tokens"]
            picture, _ = asked["messages"][0]["content"]
            assert picture["source"]["type"] == "base64"
            self.check_picture(picture["source"]["media_type"], picture["source"]["data"])
            self.check_schema(asked["output_config"]["format"])
            return {"content": [{"type": "text", "text": said(says, asked["output_config"]["format"]["schema"])}]}
        assert self.path == "/v1beta/models/gemini-2.5-flash:generateContent"
        assert self.headers["x-goog-api-key"] == "key"
        words, picture = asked["contents"][0]["parts"]
        self.check_picture(picture["inline_data"]["mime_type"], picture["inline_data"]["data"])
        assert asked["generationConfig"]["responseMimeType"] == "application/json"
        return {"candidates": [{"content": {"parts": [{"text": said(says, words["text"])}]}}]}

    def check_openai(self, part: dict[str, Any]) -> None:
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(";base64,")
            self.check_picture(head.removeprefix("data:"), data)
        elif part["type"] == "input_audio":
            assert part["input_audio"]["format"] == "wav"
            assert base64.b64decode(part["input_audio"]["data"])[:4] == b"RIFF"
        else:
            assert part["type"] == "text"

    def check_picture(self, mime_type: str, data: str) -> None:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.get_format_mimetype() == mime_type
            self.server.seen.append({"size": picture.size})

    def check_schema(self, given: dict[str, Any] | None) -> None:
        if given is not None:
            problems = broken_rules(given["schema"])
            assert not problems, problems

    def log_message(self, *_: Any) -> None:
        pass


def said(says: Any, asked: Any) -> str:
    """What the model writes: a text, or whatever a function makes of what it was asked."""
    return str(says(asked)) if callable(says) else str(says)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("MODEL_URL", f"http://127.0.0.1:{served.server_port}")
        monkeypatch.setenv("MODEL_KEY", "key")
        yield served
        served.shutdown()
        thread.join()
    assert served.problems == []


def ontology() -> OntologyStructure:
    structure = OntologyStructure()
    structure.add_object("Person", Shape.BOUNDING_BOX)
    for title in ("Caption", "Transcript"):
        structure.add_classification().add_attribute(TextAttribute, title)
    weather = structure.add_classification().add_attribute(RadioAttribute, "Weather", required=True)
    for option in ("Sunny", "Rainy"):
        weather.add_option(option)
    return structure


class World:
    """A project for one of the agents."""

    def __init__(self, platform: LocalPlatform, name: str) -> None:
        self.platform = platform
        self.name = name
        workflow = Workflow(
            [
                AgentStage(name.title(), {"done": "Done", "a person": "Review"}),
                Stage("Review", "review"),
                Stage("Done", "done"),
            ]
        )
        self.project: LocalProject = platform.create_project(workflow=workflow, ontology=ontology())

    def run(self) -> Any:
        """Run the example as it is."""
        sys.path.insert(0, str(EXAMPLES))
        try:
            module = importlib.import_module(self.name)
            module = importlib.reload(module)
        finally:
            sys.path.remove(str(EXAMPLES))
        return module.runner(project_hash=self.project.project_hash, progress="none")

    def row(self) -> Any:
        (row,) = self.platform.client().get_project(self.project.project_hash).list_label_rows_v2()
        row.initialise_labels()
        return row

    def where(self) -> dict[str, int]:
        return {title: len(self.project.tasks(title)) for title in ("Done", "Review")}


@pytest.fixture
def world(
    request: pytest.FixtureRequest, local_platform: LocalPlatform, service: Service, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    return World(local_platform, request.node.name.removeprefix("test_").partition("_")[0].partition("[")[0])


def answers(row: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for instance in row.get_classification_instances():
        told |= answered(instance)
    return told


def test_caption(world: World, service: Service) -> None:
    """The model's sentence is on the label row; a second run says it once."""
    world.project.add_image("image")
    service.says = '{"caption": {"value": "A grey field."}}'
    assert world.run().failures == []
    assert answers(world.row()) == {"Caption": "A grey field."}
    world.project.reset(keep_labels=True)
    service.says = '{"caption": {"value": "A field."}}'
    assert world.run().failures == []
    assert answers(world.row()) == {"Caption": "A field."}
    assert service.seen == [{"size": (64, 48)}] * 2


def test_classify(world: World, service: Service) -> None:
    """All classifications of the ontology, by one strict schema."""
    world.project.add_image("image")
    service.says = json.dumps({"caption": {"value": None}, "transcript": None, "weather": {"choice": "rainy"}})
    assert world.run().failures == []
    assert answers(world.row()) == {"Weather": "Rainy"}
    assert world.where() == {"Done": 1, "Review": 0}


def test_classify_an_answer_that_is_none(world: World, service: Service) -> None:
    """It is not asked for again, and the task goes to a person."""
    for title in ("first", "second"):
        world.project.add_image(title)
    weather = ["Sunny", "Foggy"]
    service.says = lambda _: json.dumps({"caption": None, "transcript": None, "weather": weather.pop(0)})
    (failure,) = world.run().failures
    assert "'Foggy' is not one of the options: 'Sunny', 'Rainy' are allowed" in str(failure.exception)
    assert world.where() == {"Done": 1, "Review": 1}
    assert len(service.seen) == 2


def test_detect(world: World, service: Service) -> None:
    """Boxes of the classes that are wanted, of those that the model is sure of; twice is once."""
    world.project.add_image("image")
    box = {"xmin": 16, "ymin": 12, "xmax": 32, "ymax": 36}
    service.says = [
        {"label": "person", "score": 0.9, "box": box},
        {"label": "person", "score": 0.4, "box": box},
        {"label": "giraffe", "score": 0.9, "box": box},
    ]
    for _ in range(2):
        assert world.run().failures == []
        (instance,) = world.row().get_object_instances()
        found = instance.get_annotation(0).coordinates
        assert (found.top_left_x, found.top_left_y, found.width, found.height) == (0.25, 0.25, 0.25, 0.5)
        world.project.reset(keep_labels=True)


def test_transcribe(world: World, service: Service) -> None:
    """Sound goes as a WAV file, and what the model wrote around its JSON is passed over."""
    wave = np.zeros((1, 8000), np.float32)
    world.project.add_file("a.wav", Sound(wave, 8000).wav(), item_type="audio", mime_type="audio/x-wav", duration=1)
    service.says = 'Here it is:\n```json\n{"transcript": {"value": "Hello?"},}\n```'
    assert world.run().failures == []
    assert answers(world.row()) == {"Transcript": "Hello?"}


@pytest.mark.parametrize(("verdicts", "where"), [(["right", "right"], "Done"), (["right", "wrong"], "Review")])
def test_judge(world: World, service: Service, verdicts: list[str], where: str) -> None:
    """Each crop is looked at, until one is doubted."""
    world.project.add_image("image")
    row = world.row()
    for place in range(2):
        instance = row.ontology_structure.objects[0].create_instance()
        box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.25 * place, top_left_y=0)
        instance.set_for_frames(box, 0)
        row.add_object_instance(instance)
    row.save()
    left = list(verdicts)

    def say(asked: str) -> str:
        assert "'Person'" in asked
        return json.dumps({"verdict": left.pop(0)})

    service.says = say
    assert world.run().failures == []
    assert world.where()[where] == 1
    assert service.seen == [{"size": (16, 24)}] * 2
