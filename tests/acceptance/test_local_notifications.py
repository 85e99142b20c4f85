"""The local platform notifies whoever is registered that tasks wait: agents run without polling."""

from __future__ import annotations

import http.server
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import requests
from fastapi import Depends, FastAPI
from tests import preloaded
from tests.editors import listening
from tests.ports import free_port
from tests.waiting import until
from typer.testing import CliRunner

from encord_agents.cli.main import app as cli
from encord_agents.core.webhooks import TaskNotification, verify_and_parse_notification
from encord_agents.fastapi import add_notification_handlers, dep_task_notification_with_args, serve_runner
from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.tasks import Runner

if TYPE_CHECKING:
    from tests.conftest import World

COMMAND = Path(sys.executable).with_name("encord-agents")
SECRET = "a secret"
PATH = "/notifications"
WORKFLOW = Workflow(
    [AgentStage("Pre-label", {"go": "Triage"}), AgentStage("Triage", {"go": "Done"}), Stage("Done", "done")]
)


def app_of(platform: LocalPlatform) -> FastAPI:
    """A runner with both agents, served."""
    runner = Runner(user_client=platform.client())
    runner.stage("Pre-label")(lambda: "go")
    runner.stage("Triage")(lambda: "go")
    return serve_runner(runner, secret=SECRET)


def all_done(project: LocalProject) -> bool:
    return until(lambda: project.stage("Done").tasks == len(project.tasks()) > 0)


@contextmanager
def receiving(answer: Callable[[int], int]) -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """A receiver that answers its n-th request with a status, and what it has received."""
    received: list[tuple[bytes, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((body, dict(self.headers)))
            self.send_response(answer(len(received)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PATH}", received
        finally:
            server.shutdown()
            thread.join()


def test_tasks_move_without_polling(local_platform: LocalPlatform) -> None:
    """From files that are added, through two agents, to the end; and again when more come."""
    project = local_platform.create_project(workflow=WORKFLOW)
    with listening(app_of(local_platform)) as address:
        local_platform.receivers.add(address + PATH, secret=SECRET, max_wait=0)
        for _ in range(2):
            project.add_placeholders(5)
            assert all_done(project)
        assert until(lambda: all(one.status == "delivered" for one in local_platform.receivers.sent()))
    assert all(project.moves(task.uuid) == 2 for task in project.tasks())
    assert {one.answer for one in local_platform.receivers.sent()} == {"200 OK"}


def test_projects_of_one_template(local_platform: LocalPlatform) -> None:
    """The agents run on each of them, and on a copy, whose stages have the same uuids, as on the real platform."""
    client = local_platform.client()
    template = local_platform.add_workflow_template(WORKFLOW)
    first = local_platform.create_project(workflow=WORKFLOW)
    first.add_placeholders(2)
    source = client.get_project(first.project_hash)
    made = client.create_project(
        "Second", [str(one.dataset_hash) for one in source.list_datasets()], ontology_hash=source.ontology_hash,
        workflow_template_hash=template,
    )  # fmt: skip
    copied = source.copy_project(new_title="Copy", copy_datasets=True)
    projects = [first, local_platform.project(made), local_platform.project(copied)]
    assert len({project.stage("Triage").uuid for project in projects}) == 1
    with listening(app_of(local_platform)) as address:
        local_platform.receivers.add(address + PATH, secret=SECRET, max_wait=0)
        assert all(all_done(project) for project in projects)


def test_an_app_of_ones_own(local_platform: LocalPlatform) -> None:
    """A route that depends on the notification is called with what the platform sent."""
    project = local_platform.create_project(workflow=WORKFLOW)
    app, told = FastAPI(), []
    add_notification_handlers(app)

    @app.post(PATH)
    def receive(
        notification: Annotated[TaskNotification, Depends(dep_task_notification_with_args(SECRET))],
    ) -> None:
        told.append(notification)

    project.add_placeholders(3)
    with listening(app) as address:
        local_platform.receivers.add(address + PATH, secret=SECRET)
        assert until(lambda: told)
    assert (str(told[0].project_hash), str(told[0].stage_uuid)) == (
        project.project_hash,
        project.stage("Pre-label").uuid,
    )
    assert told[0].pending_count == 3


def test_a_receiver_that_is_down_is_told_later(local_platform: LocalPlatform) -> None:
    """The notification waits, and is delivered once somebody listens; moves meanwhile are answered as ever."""
    project = local_platform.create_project(workflow=WORKFLOW)
    port = free_port()
    local_platform.receivers.add(f"http://127.0.0.1:{port}{PATH}", secret=SECRET, max_wait=0)
    project.add_placeholders(2)
    assert until(lambda: any(one.attempts for one in local_platform.receivers.sent()))
    (waiting,) = local_platform.receivers.sent()
    assert (waiting.status, waiting.answer) == ("waiting", "connection refused")
    with listening(app_of(local_platform), port):
        assert all_done(project)


def test_sent_again_until_it_is_accepted(local_platform: LocalPlatform) -> None:
    """Every try has the same body, and a signature of its own that verifies."""
    project = local_platform.create_project(workflow=WORKFLOW)
    with receiving(lambda number: 200 if number == 3 else 500) as (address, received):
        local_platform.receivers.add(address, secret=SECRET, max_wait=0)
        project.add_placeholders(1)
        assert until(lambda: [one.status for one in local_platform.receivers.sent()] == ["delivered"])
    assert len(received) == 3
    said = {verify_and_parse_notification(body, headers, secret=SECRET).uid for body, headers in received}
    assert len(said) == 1
    (sent,) = local_platform.receivers.sent()
    assert (sent.uid, sent.attempts, sent.answer) == (str(said.pop()), 3, "200 OK")


def test_duplicates_fold(world: World) -> None:
    """However often a stage is told of, each task is moved once."""
    runner = Runner(user_client=world.client)
    runs = []

    @runner.stage("Pre-label")
    def agent() -> str:
        runs.append(1)
        return "complete"

    world.project.add_placeholders(4)
    with listening(serve_runner(runner, secret=SECRET)) as address:
        receiver = world.platform.receivers.add(address + PATH, secret=SECRET, max_wait=0)
        for _ in range(5):
            world.platform.receivers.tell(receiver)
        assert until(lambda: world.count("Done") == 4)
    assert len(runs) == 4


def test_a_receiver_that_never_answers_keeps_nobody_waiting(local_platform: LocalPlatform) -> None:
    """Neither the move that is told of, nor the other receiver."""
    project = local_platform.create_project(workflow=WORKFLOW)
    with socket.create_server(("127.0.0.1", 0)) as silent, receiving(lambda number: 200) as (address, received):
        local_platform.receivers.add(f"http://127.0.0.1:{silent.getsockname()[1]}/", secret=SECRET, max_wait=0)
        local_platform.receivers.add(address, secret=SECRET, max_wait=0)
        project.add_placeholders(1)
        connection, _ = silent.accept()
        with connection:
            runner = Runner(project.project_hash, user_client=local_platform.client(retries=False))
            runner.stage("Pre-label")(lambda: "go")
            assert runner(progress="none").moved == 1
            triage = project.stage("Triage").uuid
            assert until(lambda: any(triage.encode() in body for body, _ in received))
            statuses = {one.address: one.status for one in local_platform.receivers.sent()}
            assert statuses[address] == "delivered"


def test_a_platform_that_is_restarted(tmp_path: Path) -> None:
    """What was not delivered is sent by the platform that opens the directory next."""
    port = free_port()
    with LocalPlatform(tmp_path) as platform:
        project = platform.create_project(workflow=WORKFLOW)
        platform.receivers.add(f"http://127.0.0.1:{port}{PATH}", secret=SECRET, max_wait=0)
        project.add_placeholders(2)
        assert until(lambda: any(one.attempts for one in platform.receivers.sent()))
    with LocalPlatform(tmp_path) as platform, listening(app_of(platform), port):
        assert all_done(platform.projects()[0])


def test_another_secret(local_platform: LocalPlatform) -> None:
    """A receiver that refuses the signature gets it again, and accepts it once the secret is the same."""
    project = local_platform.create_project(workflow=WORKFLOW)
    project.add_placeholders(1)
    with listening(app_of(local_platform)) as address:
        local_platform.receivers.add(address + PATH, secret="another")
        assert until(lambda: [one.answer for one in local_platform.receivers.sent()] == ["401 Unauthorized"])
        page = requests.get(f"{local_platform.domain}/notifications", timeout=60).text
        assert "401 Unauthorized" in page
        assert "Has the receiver this secret?" in page
        local_platform.receivers.add(address + PATH, secret=SECRET)
        assert all_done(project)


def command(data: Path, *arguments: str) -> str:
    """What a command prints: in this process, which is not the one that serves."""
    environment = {"ENCORD_WEBHOOK_SECRET": None, "NO_COLOR": "1", "COLUMNS": "160", "TERM": "dumb"}
    ran = CliRunner().invoke(cli, ["local", *arguments, "--data", str(data)], env=environment)
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.timeout(600)
def test_other_processes(tmp_path: Path) -> None:
    """An address that one command registers is told of what another command moves, by the platform that is up; and
    what `kill -9` interrupted is delivered by the next one."""
    platform = LocalPlatform(tmp_path)
    project = platform.create_project(workflow=WORKFLOW)
    project.add_placeholders(1)
    project.move(project.tasks()[0].uuid, "Done")
    platform.close()
    up = [str(COMMAND), "local", "up", "--port", "0", "--data", str(tmp_path)]

    @contextmanager
    def serving(ends_with: int) -> Iterator[None]:
        with preloaded.Popen(up, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert any("export" in line for line in iter(process.stdout.readline, ""))
                yield
            finally:
                process.send_signal(ends_with)

    with receiving(lambda number: 200 if number > 2 else 503) as (address, received):
        with serving(signal.SIGKILL):
            printed = command(tmp_path, "notify", address, "--max-wait", "0")
            secret = printed.partition("export ENCORD_WEBHOOK_SECRET=")[2].strip()
            command(tmp_path, "move", project.project_hash, "Done", "Triage")
            assert until(lambda: received)
        with serving(signal.SIGTERM):
            assert until(lambda: "delivered" in command(tmp_path, "notifications"))
        said = [verify_and_parse_notification(body, headers, secret=secret) for body, headers in received]
    listed = command(tmp_path, "notifications")
    assert "Triage" in listed
    assert address in listed
    assert len({one.uid for one in said}) == 1
    assert "1 registration removed" in command(tmp_path, "notify", address, "--remove")


def submitted(platform: LocalPlatform, path: str, **form: Any) -> requests.Response:
    page = requests.get(f"{platform.domain}/notifications", timeout=60).text
    token = page.partition('name="token" value="')[2].partition('"')[0]
    return requests.post(f"{platform.domain}{path}", data={"token": token, **form}, timeout=60, allow_redirects=False)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"address": "http://127.0.0.1:9/", "batch_size": "5", "max_wait": "2.5"}, 303),
        ({"address": "nowhere"}, 400),
        ({"address": "http://127.0.0.1:9/", "batch_size": "1.5"}, 400),
        ({"address": "http://127.0.0.1:9/", "max_wait": "inf"}, 400),
        ({"address": "http://127.0.0.1:9/", "of": "11111111-1111-4111-8111-111111111111"}, 400),
        ({"address": "http://127.0.0.1:9/", "token": "another"}, 403),
    ],
)
def test_the_form(local_platform: LocalPlatform, form: dict[str, str], status: int) -> None:
    """It registers an address, or is refused with a sentence."""
    answer = submitted(local_platform, "/notifications/add", **form)
    assert answer.status_code == status
    registered = [(one.address, one.batch_size, one.max_wait) for one in local_platform.receivers]
    assert registered == ([("http://127.0.0.1:9/", 5, 2.5)] if status == 303 else [])


def test_the_buttons(local_platform: LocalPlatform) -> None:
    """An address is removed, and unknown ones and unknown actions are refused."""
    receiver = local_platform.receivers.add("http://127.0.0.1:9/")
    for id, action, status in (
        (str(receiver.id), "nap", 400),
        ("²", "tell", 400),
        (str(receiver.id), "tell", 303),
        (str(receiver.id), "remove", 303),
    ):
        answer = submitted(local_platform, "/notifications/act", receiver=id, action=action)
        assert answer.status_code == status, (id, action)
    assert len(local_platform.receivers) == 0
